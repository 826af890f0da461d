package kernel

// Float is what the generic functions work on. float32 runs on the vector units where there are some, float64 in plain
// Go: it is there for checks of gradients, which need the precision.
type Float interface{ float32 | float64 }
