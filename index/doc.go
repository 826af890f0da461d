// Package index declares what finds the nearest embeddings.
package index
