package search

import (
	"context"
	"sync"
	"time"

	"imgsearch/dataset"
	"imgsearch/store"
)

// pending is what will be committed together.
type pending struct {
	batch  store.Batch
	report AddReport
	bytes  int
	since  time.Time
}

func newPending() *pending { return &pending{since: time.Now()} }

func (p *pending) touch(r Record) {
	p.batch.Touch = append(p.batch.Touch, r)
	p.report.Updated++
}

func (p *pending) add(item store.Item, old dataset.ID, replaces bool) {
	p.batch.Add = append(p.batch.Add, item)
	p.bytes += len(item.Thumbnail)
	if replaces {
		p.batch.Remove = append(p.batch.Remove, old)
		p.report.Replaced++
	} else {
		p.report.Added++
	}
}

func (p *pending) empty() bool { return len(p.batch.Add)+len(p.batch.Touch)+len(p.batch.Remove) == 0 }

// due reports whether it is time to commit.
func (p *pending) due() bool {
	return len(p.batch.Add)+len(p.batch.Touch) >= commitImages || p.bytes >= commitBytes ||
		!p.empty() && time.Since(p.since) >= commitInterval
}

// committer commits one batch after another in a goroutine of its own, so that the wait for the disk costs no time.
type committer struct {
	batches  chan *pending
	finished sync.WaitGroup

	mu   sync.Mutex
	done AddReport
	err  error
}

func startCommitter(ctx context.Context, s *store.Store) *committer {
	c := &committer{batches: make(chan *pending, 1)}
	c.finished.Go(func() {
		for p := range c.batches {
			if c.failure() != nil {
				continue
			}
			_, err := s.Apply(ctx, p.batch)
			c.mu.Lock()
			if c.err = err; err == nil {
				c.done = c.done.plus(p.report)
			}
			c.mu.Unlock()
		}
	})
	return c
}

// send hands a batch over; it waits while another one does. The error is that of an earlier one.
func (c *committer) send(p *pending) error {
	if !p.empty() {
		c.batches <- p
	}
	return c.failure()
}

// finish waits for the last commit and returns the first error.
func (c *committer) finish() error {
	close(c.batches)
	c.finished.Wait()
	return c.failure()
}

func (c *committer) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// report says what is committed.
func (c *committer) report() AddReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}
