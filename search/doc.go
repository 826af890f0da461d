// Package search joins the rooms below it into what a program uses: a collection of images that can be asked for the
// ones most similar to a picture.
//
// A [Collection] is one file. [Create] makes one for an encoder, which the file then holds; [Open] opens one. [Collection.Add]
// brings a data set in: it lists, skips what is unchanged, decodes, embeds, makes thumbnails, commits in batches, and
// at the end brings the neighbour graph up to date. Run again, it takes in only what is new or changed, and with
// [AddOptions.Prune] it removes what is gone. [Collection.QueryImage], [Collection.QueryID] and
// [Collection.QueryEmbedding] find neighbours, [Collection.QueryExamples] those of several pictures at once;
// [Collection.Groups] finds the groups that the encoder sees. [Collection.Records], [Collection.Embeddings] and
// [Collection.Thumbnail] give back what is stored; [Collection.Info] and [Collection.Check] describe and examine the file.
//
// [Collection.Duplicates] and [Collection.DuplicatesAgainst] find images that show the same picture,
// [Collection.Outliers] labels that disagree with the neighbours'.
//
// # Ids
//
// Images get the ids 0, 1, 2, … in the order of the data set; images that cannot be read get none. An id is never given
// twice: a file whose content changed becomes a new image with a new id, and the old one is removed. A file that was only
// touched, or has another label now, keeps its id.
//
// # A query's own record
//
// Who asks for neighbours does not ask for the image itself. A query by id leaves out that id. A query by image leaves
// out every record with the same content hash, so byte-identical copies too, and the one with the same source
// ([QueryOptions.Source]). [QueryOptions.IncludeSelf] keeps them.
//
// # How answers are found
//
// The distance is the one that the encoder was trained for, unless [CreateOptions.Metric] says otherwise: cosine where
// it normalises its embeddings, Euclidean otherwise. In a collection with the cosine distance, embeddings are stored with
// length 1. Answers come from the graph (approximate; see package index/hnsw) or from a comparison with every image, which is
// exact: the latter where it takes no longer, which is in collections of up to some 60,000 images, for the first few
// queries after opening, and for a large k; and while the graph is stale. [QueryOptions] can choose. Results are sorted by
// rising distance, equal distances by rising id.
//
// # The map
//
// [Collection.Map] lays the images out on a plane, like beside like, and keeps the positions in the collection: images that
// come later are placed beside their neighbours, and nothing that was placed moves. The positions are not part of what Add
// and Remove change; [Collection.Check] verifies them.
//
// # Guarantees
//
// Opening takes milliseconds whatever the size: encoder, embeddings and graph are read when they are first needed, in
// place from the mapped file, and their checksums verified then. A change is committed as a whole or not at all; what Add
// committed stays when it is interrupted, and the next Add goes on from there. Between the first commit of an Add and
// its end the graph is stale, and answers are exact.
//
// All methods may be called from several goroutines at once. Any number of processes may read a collection while one
// writes it; each call sees one committed state, and waits at most a moment for a commit to end. A second writer gets
// [ErrLocked] at once. Damage gives [ErrCorrupt], never a wrong answer.
package search
