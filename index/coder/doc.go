// Package coder answers searches with github.com/coder/hnsw, to compare with.
//
// Version 0.6.1 of that library cannot be used as it comes (docs/index.md has the measurements): its search ends at the
// first hop that brings nothing, so that few of the true neighbours are found; adding an id again makes it panic, and
// removing one makes it panic later; its answers are unsorted. So [Index] takes nothing but candidates from it: the
// library's graph is only ever added to and made anew when something was removed, many more candidates are asked for
// than wanted, and those are compared and sorted here, on embeddings that Index keeps itself. Where the library panics,
// everything is compared instead.
//
// Equal embeddings, of which the library would link a few to each other and nothing else, are one node of its graph.
//
// What cannot be mended from outside: the library walks Go maps, so two graphs of the same embeddings differ, and so
// can two answers of one graph. Below Options.Fetch embeddings, and under the inner product, which the library does not
// have, everything is compared and the library is not asked.
//
// The library does not build on Windows, so this package is empty there.
package coder
