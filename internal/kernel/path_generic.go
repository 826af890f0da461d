//go:build !amd64

package kernel

// paths lists the implementations from the best to the plain one.
var paths = []path{{name: "go", available: true, use: func() {}}}
