// Package index declares what finds the nearest embeddings: the [Index] interface, the distances ([Metric]) and the
// answers ([Neighbor]).
//
// Three packages below it implement the interface and pass one conformance suite, indextest:
//
//   - exact compares the query with everything. It is the oracle of every test and measurement.
//   - hnsw walks a hierarchical navigable small-world graph. It is what a collection uses.
//   - coder wraps github.com/coder/hnsw, to compare with; docs/index.md says why it is not the default.
//
// An index holds embeddings and ids, nothing else; what an id stands for is the store's business.
package index
