package training

// sampler says which training images make up which step. It holds no state: every answer follows from the seed and the
// step's number, so a resumed run sees what the uninterrupted one would have seen.
//
// An epoch is a fresh shuffle of all images, cut into batches without replacement; the images left over at its end (fewer than a
// batch) wait for another epoch's shuffle.
type sampler struct {
	seed   uint64
	images int // how many there are to draw from
	batch  int // groups a step, at most images

	epoch int // the epoch that order belongs to, -1 for none
	order []int32
}

func newSampler(seed uint64, images, batch int) *sampler {
	return &sampler{seed: seed, images: images, batch: batch, epoch: -1}
}

// stepsPerEpoch is at least 1.
func (s *sampler) stepsPerEpoch() int { return s.images / s.batch }

// anchors returns the images of a step, [batch], not to be changed. Not for several goroutines at once.
func (s *sampler) anchors(step int) []int32 {
	per := s.stepsPerEpoch()
	if epoch := step / per; epoch != s.epoch {
		r := newRNG(s.seed, streamShuffle, uint64(epoch), 0)
		s.order, s.epoch = r.permutation(s.images), epoch
	}
	at := step % per * s.batch
	return s.order[at : at+s.batch]
}

// negative returns an image other than the anchor, each equally likely. There must be two images.
func (s *sampler) negative(step, row int, anchor int32) int32 {
	r := newRNG(s.seed, streamNegative, uint64(step), uint64(row))
	n := int32(r.intn(s.images - 1))
	if n >= anchor {
		n++
	}
	return n
}
