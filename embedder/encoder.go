package embedder

import (
	"crypto/sha256"
	"fmt"
	"sync"
)

// Encoder makes embeddings of images. It is immutable: all methods may be called from several goroutines at once.
type Encoder struct {
	architecture Architecture
	steps        []Step
	weights      Weights
	metadata     Metadata
	json         []byte            // the architecture as the file holds it
	digest       [sha256.Size]byte // of the weights
	fingerprint  string
	net          *net
	normal       *[3][256]float32 // the input's value for each channel and value of a byte
	workers      sync.Pool        // of *worker
}

// New makes an encoder of a net and its weights, which are copied. Errors wrap [ErrArchitecture] or [ErrWeights], or
// name the field of the metadata that is out of range.
func New(a Architecture, weights Weights, metadata Metadata) (*Encoder, error) {
	return newEncoder(a.Clone(), weights.Clone(), metadata, nil)
}

// newEncoder keeps what it is given. The digest is that of the weights, or nil where it is not known yet.
func newEncoder(a Architecture, weights Weights, metadata Metadata, digest *[sha256.Size]byte) (*Encoder, error) {
	steps, err := a.trace()
	if err != nil {
		return nil, err
	}
	if err := weights.check(parametersOf(steps)); err != nil {
		return nil, err
	}
	metadata = metadata.validUTF8()
	if err := metadata.check(); err != nil {
		return nil, err
	}
	json, err := a.JSON()
	if err != nil {
		return nil, err
	}
	if len(json) > maxArchitectureJSON {
		return nil, fmt.Errorf("%w: JSON of %d bytes: at most %d", ErrArchitecture, len(json), maxArchitectureJSON)
	}
	if digest == nil {
		d := weightsDigest(weights)
		digest = &d
	}
	net, err := newNet(a, weights)
	if err != nil {
		return nil, err
	}
	e := &Encoder{
		architecture: a,
		steps:        steps,
		weights:      weights,
		metadata:     metadata,
		json:         json,
		digest:       *digest,
		fingerprint:  fingerprint(json, *digest),
		net:          net,
		normal:       normalTable(a.Mean, a.Std),
	}
	e.workers.New = func() any { return newWorker(net) }
	return e, nil
}

// Architecture returns a copy of the net.
func (e *Encoder) Architecture() Architecture { return e.architecture.Clone() }

// Weights returns a copy of the weights, batch normalisation not folded.
func (e *Encoder) Weights() Weights { return e.weights.Clone() }

// Metadata returns what made the encoder.
func (e *Encoder) Metadata() Metadata { return e.metadata }

// Dim returns the number of values of an embedding.
func (e *Encoder) Dim() int { return e.steps[len(e.steps)-1].Out.C }

// InputSize returns the side of the square input in pixels.
func (e *Encoder) InputSize() int { return e.architecture.InputSize }

// Normalized reports whether embeddings have length 1; their distance is then the cosine, otherwise L2.
func (e *Encoder) Normalized() bool { return e.architecture.Normalized() }

// Fingerprint returns the hex SHA-256 over architecture and weights: encoders with one fingerprint make the same
// embeddings. Metadata is not part of it.
func (e *Encoder) Fingerprint() string { return e.fingerprint }
