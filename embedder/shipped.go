package embedder

import (
	_ "embed"
	"sync"
)

// shippedFile is the encoder that is built in. docs/results.md has the command that made it.
//
//go:embed shipped.encoder
var shippedFile []byte

// Shipped returns the encoder that is built into the program: trained without labels on the training images of CIFAR-10
// by the preset "default".
var Shipped = sync.OnceValues(func() (*Encoder, error) { return Read(shippedFile) })
