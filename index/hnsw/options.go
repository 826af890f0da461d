package hnsw

import "fmt"

// Options are the parameters of a graph. The zero value means [DefaultOptions] field by field.
type Options struct {
	// M is the number of links a node gets on the upper levels, and half the most it has on level 0. Default 16, 2 to
	// 128. Raise it for embeddings of high intrinsic dimension or where recall must be near 1: 32 to 48 help there; 8 is
	// enough for a few dimensions. Memory grows by 8 bytes a node for each unit, and so does the time of a build.
	M int
	// EfConstruction is the number of candidates a new node chooses its links from. Default 200, M to 10,000. Raising it
	// makes a better graph and a slower build, in proportion. It is large enough when a search with EfSearch =
	// EfConstruction finds .9 of the true neighbours and more; beyond that nothing is gained.
	EfConstruction int
	// EfSearch is the number of candidates a search keeps; it is never less than k. Default 200, 1 to 100,000. Recall
	// and the time of a query rise with it. It can be changed for each query: see [Graph.SearchEf].
	EfSearch int
	// Seed decides the levels of the nodes. Default 0.
	Seed uint64
	// Threads is the number of threads that Add uses; the graph does not depend on it. Default: all cores.
	Threads int
}

// DefaultOptions returns the options of a collection that names none.
func DefaultOptions() Options { return Options{}.withDefaults() }

func (o Options) withDefaults() Options {
	if o.M == 0 {
		o.M = 16
	}
	if o.EfConstruction == 0 {
		o.EfConstruction = max(200, o.M)
	}
	if o.EfSearch == 0 {
		o.EfSearch = 200
	}
	return o
}

// validate names the field that is out of range.
func (o Options) validate() error {
	for _, f := range []struct {
		name           string
		value, low, up int
	}{
		{"M", o.M, 2, maxM}, {"efConstruction", o.EfConstruction, o.M, 10_000}, {"efSearch", o.EfSearch, 1, 100_000},
		{"threads", o.Threads, 0, 4096},
	} {
		if f.value < f.low || f.value > f.up {
			return fmt.Errorf("%s %d: must be %d to %d", f.name, f.value, f.low, f.up)
		}
	}
	return nil
}

const maxM = 128
