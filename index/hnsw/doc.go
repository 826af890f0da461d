// Package hnsw finds nearest embeddings by walking a hierarchical navigable small-world graph (Malkov & Yashunin 2016,
// arXiv 1603.09320). [Graph] implements index.Index and is what a collection uses.
//
// # The graph
//
// Each embedding is a node. On level 0 every node links to at most 2M others that are near and lie in different
// directions (the paper's algorithm 4, see heuristic.go); a node is on level l+1 with probability 1/M of being on level
// l, and has at most M links there. A search goes greedily down the upper levels and then keeps the efSearch nearest
// nodes seen on level 0, expanding each once.
//
// Two things are not in the paper. Links are chosen a little less strictly, and the room that is left is used; and every
// node has a parent that it never loses its links with, so that each node can be reached from each other (tree.go). Equal
// embeddings and such as lie far from all others are found like the rest.
//
// Nodes have slots, numbered in the order of insertion and never used again after Remove. Embeddings and level-0 links
// lie in chunks of [ChunkNodes] slots, each one slice, so that they can be read in place from a mapped file: see
// [Graph.Parts] and [Load].
//
// # Searches
//
// [Graph.Search] and [Graph.SearchEf] find the k nearest, [Graph.SearchFiltered] the nearest of a set ([Graph.Filter],
// [Graph.FilterIDs]), [Graph.SearchRange] all within a distance, [Graph.SearchAll] does many at once. A search walks the
// graph by codes of the embeddings, a byte a value, and measures again with the embeddings themselves what could be among the
// nearest (codes.go). Where comparing with everything is faster, as [Graph.MeasureScan] finds on the processor at hand, that
// is done instead. [Graph.MeasureEf] finds the efSearch that reaches a given recall.
//
// # Changes
//
// [Graph.Add] inserts, [Graph.Remove] takes out, [Graph.Replace] gives a held id another embedding; the neighbours of what
// went away choose other links. Any number of goroutines may search while one changes the graph, or while several wait for
// their turn to: searches see the graph as it was before or after each batch of 256 insertions, each removal, each unlinking
// and linking of a replacement. [Graph.Parts] and [Graph.Saved] are not for use beside a change.
//
// # What it guarantees
//
// Two graphs made by the same calls with the same options are equal bit for bit, whatever the number of threads: levels
// come from a hash of seed and slot, and nodes are inserted in batches, each of which searches the graph as it was before
// the batch (build.go). MeasureScan alone brings in the clock. Answers are sorted, without repetition, and the same before
// saving and after loading. A search for k of at least k embeddings gives k answers.
//
// A graph that was loaded from damaged bytes gives [ErrCorrupt] or a wrong neighbour, but never a panic or an endless
// search; the store's checksums are what keeps damage away. [Graph.Verify] walks everything, and does so before a loaded
// graph changes for the first time.
//
// Memory beyond the embeddings is 8M bytes a node for the links of level 0, about 4M/(M-1) for those above, a byte a value,
// rounded up to 64, for the code, and 18 for what else is known of it: 214 bytes at M = 16 and 64 values; 30 more where ids
// are not the numbers of their slots and are looked up, as Add and Remove do.
package hnsw
