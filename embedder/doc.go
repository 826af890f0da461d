// Package embedder holds the encoder.
package embedder
