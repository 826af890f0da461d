package atlas

import (
	"context"
	"fmt"
	"math"
	"slices"

	"imgsearch/dataset"
	"imgsearch/index"
	"imgsearch/internal/kernel"
)

const (
	placeSteps    = 60
	placeRate     = 0.5
	placeMomentum = 0.5
	// placeReach bounds a step, in units of the map.
	placeReach = 2
	// placeVoters is the number of nearest neighbours whose median is where a new point begins.
	placeVoters = 10
)

// Place lays points onto a map that is there: those whose position is NaN get one, the others stay. Positions is [n, 2]
// float32 in the order of ids; neighbours are lists as those of [TSNE], of which the ones of new points are read. It returns
// all positions, in memory of its own.
//
// A new point begins at the median of its nearest neighbours that have a position, first of all those that have most of
// them, and then follows for a few steps the gradient of its own divergence, the points that were there being fixed
// (Poličar et al. 2023, "Embedding to reference t-SNE space addresses batch effects in single-cell classification"):
// it is drawn to its neighbours, new ones among them, and held off by the points that were there. A step is divided by the
// sum of the weights, so that no rate of learning need be chosen. Metric, Perplexity, Theta and Threads of the options
// count. Equal input gives equal positions, whatever the number of threads.
func Place(ctx context.Context, ids []dataset.ID, neighbors [][]index.Neighbor, positions []float32, options MapOptions) ([]float32, error) {
	n := len(ids)
	o, err := options.withDefaults(n)
	if err != nil {
		return nil, err
	}
	if len(neighbors) != n || len(positions) != 2*n {
		return nil, fmt.Errorf("%w: %d lists and %d values for %d points", ErrNeighbors, len(neighbors), len(positions), n)
	}
	p, err := newPlacement(ids, neighbors, positions, o)
	if err != nil || len(p.fresh) == 0 {
		return slices.Clone(positions), err
	}
	p.begin()
	for range placeSteps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p.step()
	}
	return p.positions, nil
}

// placement is what Place works on.
type placement struct {
	MapOptions
	positions, next []float32
	velocity        []float32 // [len(fresh), 2]
	fresh           []int     // the points to place
	halves          []half    // of the fresh points
	tree            quadtree  // of the others
}

func newPlacement(ids []dataset.ID, neighbors [][]index.Neighbor, positions []float32, o MapOptions) (*placement, error) {
	p := &placement{MapOptions: o, positions: slices.Clone(positions)}
	position := make(map[dataset.ID]int32, len(ids))
	var fixed []float32
	for i, id := range ids {
		if _, ok := position[id]; ok {
			return nil, fmt.Errorf("%w: id %d is given twice", ErrNeighbors, id)
		}
		position[id] = int32(i)
		if hasPosition(positions, i) {
			fixed = append(fixed, positions[2*i], positions[2*i+1])
		} else {
			p.positions[2*i], p.positions[2*i+1] = float32(math.NaN()), float32(math.NaN())
			p.fresh = append(p.fresh, i)
		}
	}
	if len(fixed) == 0 && len(ids) > 0 {
		return nil, fmt.Errorf("%w: no point has a position to lay others beside", ErrNothing)
	}
	if len(p.fresh) == 0 {
		return p, nil
	}
	p.tree.build(fixed, o.Threads)
	p.halves = make([]half, len(p.fresh))
	p.velocity = make([]float32, 2*len(p.fresh))
	problems := make([]error, len(p.fresh))
	kernel.Parallel(o.Threads, len(p.fresh), func(f int) {
		i := p.fresh[f]
		p.halves[f], problems[f] = weigh(position, ids[i], neighbors[i], o.Metric, o.Perplexity)
	})
	for _, err := range problems {
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

func hasPosition(positions []float32, i int) bool {
	return positions[2*i]-positions[2*i] == 0 && positions[2*i+1]-positions[2*i+1] == 0
}

// begin gives every new point its first position: in rounds, each for the points that have the most neighbours with a
// position. What no neighbour leads to goes to the middle.
func (p *placement) begin() {
	var x, y []float32
	waiting := make([]int, len(p.fresh))
	for f := range waiting {
		waiting[f] = f
	}
	for len(waiting) > 0 {
		most := 0
		known := make([]int, len(waiting))
		for w, f := range waiting {
			for _, j := range p.halves[f].at {
				if hasPosition(p.positions, int(j)) {
					known[w]++
				}
			}
			most = max(most, min(known[w], placeVoters))
		}
		type place struct {
			point int
			x, y  float32
		}
		var placed []place
		var rest []int
		for w, f := range waiting {
			if known[w] < most {
				rest = append(rest, f)
				continue
			}
			x, y = x[:0], y[:0]
			for _, j := range p.halves[f].at {
				if hasPosition(p.positions, int(j)) && len(x) < placeVoters {
					x, y = append(x, p.positions[2*j]), append(y, p.positions[2*j+1])
				}
			}
			placed = append(placed, place{p.fresh[f], median(x), median(y)})
		}
		for _, at := range placed {
			p.positions[2*at.point], p.positions[2*at.point+1] = at.x, at.y
		}
		waiting = rest
	}
	p.next = slices.Clone(p.positions)
}

// median sorts the values; it is 0 where there are none.
func median(values []float32) float32 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// step moves all new points at once.
func (p *placement) step() {
	theta2 := float32(p.Theta * p.Theta)
	lists := make([]interactions, kernel.Threads(p.Threads))
	kernel.ParallelRanges(p.Threads, len(p.fresh), func(worker, from, to int) {
		for f := from; f < to; f++ {
			i := p.fresh[f]
			px, py := p.positions[2*i], p.positions[2*i+1]
			var fx, fy, weights float64
			for e, j := range p.halves[f].at {
				dx, dy := float64(px-p.positions[2*j]), float64(py-p.positions[2*j+1])
				w := p.halves[f].values[e] / (1 + dx*dx + dy*dy)
				fx, fy, weights = fx+w*dx, fy+w*dy, weights+w
			}
			if weights == 0 {
				continue
			}
			list := &lists[worker]
			p.tree.gather(list, px, px, py, py, theta2)
			rx, ry, sum := kernel.Repel(list.x, list.y, list.mass, px, py)
			if sum > 0 {
				fx -= float64(rx / sum)
				fy -= float64(ry / sum)
			}
			vx := placeMomentum*float64(p.velocity[2*f]) - placeRate*fx/weights
			vy := placeMomentum*float64(p.velocity[2*f+1]) - placeRate*fy/weights
			if length := math.Hypot(vx, vy); length > placeReach {
				vx, vy = vx*placeReach/length, vy*placeReach/length
			}
			p.velocity[2*f], p.velocity[2*f+1] = float32(vx), float32(vy)
			p.next[2*i], p.next[2*i+1] = px+float32(vx), py+float32(vy)
		}
	})
	p.positions, p.next = p.next, p.positions
	for _, i := range p.fresh {
		p.next[2*i], p.next[2*i+1] = p.positions[2*i], p.positions[2*i+1]
	}
}
