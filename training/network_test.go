package training

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"imgsearch/embedder"
)

// testConfig is a config of one of the tiny nets, all its weights away from where they are trivial.
func testConfig(a embedder.Architecture, o LossOptions, groups int) networkConfig {
	rng := rand.New(rand.NewPCG(11, 12))
	c := networkConfig{Architecture: a, Weights: embedder.InitWeights(a, rng), Loss: o, Groups: groups, Rows: o.rows(), Threads: 2}
	for _, p := range a.Parameters() {
		d := c.Weights[p.Name].Data
		for i := range d {
			switch p.Role {
			case embedder.RoleBias, embedder.RoleShift, embedder.RoleRunningMean:
				d[i] = float32(rng.NormFloat64() * 0.2)
			case embedder.RoleScale, embedder.RoleRunningVar:
				d[i] = float32(0.5 + rng.Float64())
			}
		}
	}
	return c
}

var testHead = []embedder.Layer{
	{Kind: embedder.Linear, Out: 6, Bias: true}, {Kind: embedder.BatchNorm}, {Kind: embedder.ReLU},
	{Kind: embedder.Linear, Out: 3}, {Kind: embedder.L2Norm},
}

func withHead(c networkConfig) networkConfig {
	c.Head = testHead
	maps.Copy(c.Weights, initHeadWeights(c.Architecture.OutputDim(), testHead, rand.New(rand.NewPCG(13, 14))))
	return c
}

func mustNetwork(t testing.TB, c networkConfig) *network {
	t.Helper()
	n, err := newNetwork(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.close() })
	return n
}

// sameWeights fails the test unless both hold the same bits.
func sameWeights(t *testing.T, what string, got, want embedder.Weights) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d tensors: want %d", what, len(got), len(want))
	}
	for name, w := range want {
		g := got[name]
		if !slices.Equal(g.Shape, w.Shape) {
			t.Fatalf("%s: %s has shape %v: want %v", what, name, g.Shape, w.Shape)
		}
		for i, v := range w.Data {
			if math.Float32bits(g.Data[i]) != math.Float32bits(v) {
				t.Fatalf("%s: %s[%d] is %v: want %v", what, name, i, g.Data[i], v)
			}
		}
	}
}

// TestSameForAllThreads: weights and reports are the same bit for bit on any number of threads.
func TestSameForAllThreads(t *testing.T) {
	for name, a := range testNets() {
		for _, o := range allLosses() {
			c := testConfig(a, o, 9)
			c.Momentum, c.WeightDecay, c.Nesterov = 0.9, 1e-3, true
			if name != "odd" {
				c = withHead(c)
			}
			var want embedder.Weights
			var wantResult stepResult
			for _, threads := range []int{1, 2, 7} {
				c.Threads = threads
				n := mustNetwork(t, c)
				rng := rand.New(rand.NewPCG(15, 16))
				var r stepResult
				for range 3 {
					var err error
					if r, err = n.step(testImages(rng, n.inputLen()), 0.01); err != nil {
						t.Fatal(err)
					}
				}
				if threads == 1 {
					want, wantResult = n.state(), r
					continue
				}
				sameWeights(t, fmt.Sprintf("%s, %s %s, %d threads", name, o.Loss, o.Miner, threads), n.state(), want)
				if fmt.Sprint(r) != fmt.Sprint(wantResult) {
					t.Errorf("%s, %s %s, %d threads: %v: want %v", name, o.Loss, o.Miner, threads, r, wantResult)
				}
			}
		}
	}
}

// TestState: steps after setState(state()) are those of the run that was not interrupted.
func TestState(t *testing.T) {
	for name, a := range testNets() {
		for _, momentum := range []float64{0, 0.9} {
			c := withHead(testConfig(a, LossOptions{Loss: LossSmoothTriplet, Temperature: 0.2}, 4))
			c.Momentum = momentum
			rng := rand.New(rand.NewPCG(17, 18))
			n := mustNetwork(t, c)
			step := func(n *network, x []float32) {
				t.Helper()
				if _, err := n.step(x, 0.05); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				step(n, testImages(rng, n.inputLen()))
			}
			state := n.state()
			other := c
			other.Weights = maps.Clone(c.Weights)
			for _, p := range a.Parameters() {
				other.Weights[p.Name] = embedder.NewTensor(p.Shape...)
			}
			m := mustNetwork(t, other)
			step(m, testImages(rng, n.inputLen())) // leaves velocities
			if err := m.setState(state); err != nil {
				t.Fatal(err)
			}
			sameWeights(t, name+": restored", m.state(), state)
			for range 2 {
				x := testImages(rng, n.inputLen())
				step(n, x)
				step(m, x)
			}
			sameWeights(t, name+": two steps later", m.state(), n.state())

			before := m.state()
			for what, spoil := range map[string]func(embedder.Weights){
				"one missing":   func(w embedder.Weights) { delete(w, velocityPrefix+"head.0.weight") },
				"one too many":  func(w embedder.Weights) { w["x"] = embedder.NewTensor(1) },
				"another shape": func(w embedder.Weights) { w["head.0.bias"] = embedder.NewTensor(3) },
				"short data": func(w embedder.Weights) {
					w["head.0.bias"] = embedder.Tensor{Shape: w["head.0.bias"].Shape, Data: w["head.0.bias"].Data[1:]}
				},
			} {
				bad := maps.Clone(state)
				spoil(bad)
				if err := m.setState(bad); err == nil {
					t.Errorf("%s: no error with %s", name, what)
				}
				sameWeights(t, name+": "+what, m.state(), before)
			}
		}
	}
}

// TestEvaluationIsInference: with running statistics the training graph is the encoder.
func TestEvaluationIsInference(t *testing.T) {
	nets := testNets()
	nets["seed"] = embedder.SeedArchitecture()
	nets["n77"] = n77()
	for name, a := range nets {
		c := testConfig(a, LossOptions{Loss: LossMSE}, 2)
		const images = 5
		b, err := buildNet[float32](c, images, true)
		if err != nil {
			t.Fatal(err)
		}
		n := b.net
		if err := n.graph.compile(); err != nil {
			t.Fatal(err)
		}
		x := testImages(rand.New(rand.NewPCG(19, 20)), n.inputLen())
		if err := n.setInput(x); err != nil {
			t.Fatal(err)
		}
		if err := n.graph.runAll(); err != nil {
			t.Fatal(err)
		}
		e, err := embedder.New(a, c.Weights, embedder.Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		want, err := e.EmbedInput(context.Background(), x, 1)
		if err != nil {
			t.Fatal(err)
		}
		var scale float64
		for _, v := range want {
			scale = max(scale, math.Abs(float64(v)))
		}
		if len(n.embeddings.data) != len(want) || scale == 0 {
			t.Fatalf("%s: %d values, the largest %v: want %d", name, len(n.embeddings.data), scale, len(want))
		}
		for i, v := range n.embeddings.data {
			if math.Abs(float64(v-want[i])) > 2e-5*scale {
				t.Errorf("%s: value %d is %v: the encoder gives %v", name, i, v, want[i])
			}
		}
		n.close()
	}
}

// TestRunningStatistics: they follow those of the batches as PyTorch's do, in images and in rows.
func TestRunningStatistics(t *testing.T) {
	a := embedder.Architecture{InputSize: 4, Std: [3]float32{1, 1, 1}, Layers: []embedder.Layer{
		{Kind: embedder.BatchNorm}, {Kind: embedder.Flatten}, {Kind: embedder.BatchNorm}, {Kind: embedder.Linear, Out: 2},
	}}
	c := testConfig(a, LossOptions{Loss: LossMSE}, 3)
	n := mustNetwork(t, c)
	x := testImages(rand.New(rand.NewPCG(23, 24)), n.inputLen())
	if _, err := n.step(x, 0); err != nil {
		t.Fatal(err)
	}
	got := n.weights()
	for ch := range 3 {
		var values []float64
		for i := range 6 {
			for _, v := range x[(i*3+ch)*16:][:16] {
				values = append(values, float64(v))
			}
		}
		var mean, squares float64
		for _, v := range values {
			mean += v / float64(len(values))
		}
		for _, v := range values {
			squares += (v - mean) * (v - mean)
		}
		for _, w := range []struct {
			name string
			new  float64
		}{{"layers.0.running_mean", mean}, {"layers.0.running_var", squares / float64(len(values)-1)}} {
			want := 0.9*float64(c.Weights[w.name].Data[ch]) + 0.1*w.new
			if math.Abs(float64(got[w.name].Data[ch])-want) > 1e-6 {
				t.Errorf("%s[%d] is %v: want %v", w.name, ch, got[w.name].Data[ch], want)
			}
		}
		// Behind the first one, each value of a row is normalised by itself.
		scale := float64(c.Weights["layers.0.weight"].Data[ch]) / math.Sqrt(squares/float64(len(values))+embedder.BatchNormEpsilon)
		shift := float64(c.Weights["layers.0.bias"].Data[ch]) - mean*scale
		for p := range 16 {
			mean, squares = 0, 0
			for i := range 6 {
				mean += (float64(x[(i*3+ch)*16+p])*scale + shift) / 6
			}
			for i := range 6 {
				d := float64(x[(i*3+ch)*16+p])*scale + shift - mean
				squares += d * d
			}
			j := ch*16 + p
			for _, w := range []struct {
				name string
				new  float64
			}{{"layers.2.running_mean", mean}, {"layers.2.running_var", squares / 5}} {
				want := 0.9*float64(c.Weights[w.name].Data[j]) + 0.1*w.new
				if math.Abs(float64(got[w.name].Data[j])-want) > 1e-6 {
					t.Errorf("%s[%d] is %v: want %v", w.name, j, got[w.name].Data[j], want)
				}
			}
		}
	}
}

// TestFrozenLayers: they and their statistics keep their values, all others move.
func TestFrozenLayers(t *testing.T) {
	for name, a := range testNets() {
		c := testConfig(a, LossOptions{Loss: LossNTXent, Temperature: 0.5}, 4)
		c.Momentum = 0.9
		c.WeightDecay = 0.1
		n := mustNetwork(t, c)
		rng := rand.New(rand.NewPCG(25, 26))
		for range 2 {
			if _, err := n.step(testImages(rng, n.inputLen()), 0.1); err != nil {
				t.Fatal(err)
			}
		}
		got := n.weights()
		if err := got.Check(a); err != nil {
			t.Fatal(err)
		}
		for _, p := range a.Parameters() {
			same := slices.Equal(got[p.Name].Data, c.Weights[p.Name].Data)
			if p.Role == embedder.RoleBias && same {
				continue // batch normalisation may have taken its gradient away
			}
			if same != p.Layer.Frozen {
				t.Errorf("%s: %s: frozen %v, unchanged %v", name, p.Name, p.Layer.Frozen, same)
			}
		}
	}
}

// TestHead: the loss sees the embedding through the head, the encoder's weights are those of the architecture.
func TestHead(t *testing.T) {
	a := testNets()["conv-bn"]
	c := withHead(testConfig(a, LossOptions{Loss: LossNTXent, Temperature: 0.5}, 4))
	n := mustNetwork(t, c)
	x := testImages(rand.New(rand.NewPCG(27, 28)), n.inputLen())
	first, err := n.step(x, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.weights().Check(a); err != nil {
		t.Error(err)
	}
	for range 30 {
		if _, err := n.step(x, 0.05); err != nil {
			t.Fatal(err)
		}
	}
	last, err := n.step(x, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	if last.Loss > 0.8*first.Loss {
		t.Errorf("loss %v at first, %v at last", first.Loss, last.Loss)
	}
	state := n.state()
	for _, p := range []string{"head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias", "head.3.weight"} {
		if slices.Equal(state[p].Data, c.Weights[p].Data) {
			t.Errorf("%s did not move", p)
		}
		if state[velocityPrefix+p].Data == nil {
			t.Errorf("no velocity of %s in the state", p)
		}
	}
	// Gradients through the head.
	checkGradients(t, c, randomInput(5, n.inputLen()))

	c.Head = []embedder.Layer{{Kind: embedder.GlobalMean}}
	if _, err := newNetwork(c); !errors.Is(err, embedder.ErrArchitecture) {
		t.Errorf("a head that does not fit: error %v: want %v", err, embedder.ErrArchitecture)
	}
}

// TestOverfit: eight images are told apart soon.
func TestOverfit(t *testing.T) {
	for name, a := range testNets() {
		if name == "odd" { // 3 values behind a mean over one pixel
			continue
		}
		for _, o := range allLosses() {
			if name == "seed-like" && o.Miner != MinerRandom { // without normalisation some of them collapse
				continue
			}
			c := testConfig(a, o, 8)
			c.Momentum = 0.9
			n := mustNetwork(t, c)
			rng := rand.New(rand.NewPCG(29, 30))
			half := n.inputLen() / c.Rows
			x := testImages(rng, n.inputLen())
			for i, v := range x[:half] {
				x[half+i] = v + 0.05*float32(rng.NormFloat64())
			}
			var first, last stepResult
			for i := range 120 {
				r, err := n.step(x, 0.02)
				if err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					first = r
				}
				last = r
			}
			least := 0.3
			if o.Loss == LossEMP { // 16 embeddings have a largest coding rate, and start not far below it
				least = 0.08
			}
			if last.Loss > first.Loss-least*math.Abs(first.Loss) {
				t.Errorf("%s: %s %s: loss %v at first, %v at last", name, o.Loss, o.Miner, first.Loss, last.Loss)
			}
		}
	}
}

// TestStepReport: what a step reports is what the embeddings before it say.
func TestStepReport(t *testing.T) {
	a := testNets()["seed-like"]
	for _, o := range allLosses() {
		c := testConfig(a, o, 5)
		n := mustNetwork(t, c)
		x := testImages(rand.New(rand.NewPCG(33, 34)), n.inputLen())
		got, err := n.step(x, 0.01)
		if err != nil {
			t.Fatal(err)
		}
		encoder, err := embedder.New(a, c.Weights, embedder.Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		e32, err := encoder.EmbedInput(context.Background(), x, 1)
		if err != nil {
			t.Fatal(err)
		}
		e := make([]float64, len(e32))
		for i, v := range e32 {
			e[i] = float64(v)
		}
		rows := rowsOf(e, encoder.Dim())
		sameScores(t, string(o.Loss)+" "+string(o.Miner),
			scores{loss: got.Loss, active: got.Active, positive: got.PositiveDistance, negative: got.NegativeDistance},
			slowLoss(o, c.Groups, rows), 1e-4)
		var want float64
		for j := range encoder.Dim() {
			var mean, variance float64
			for _, r := range rows {
				mean += r[j] / float64(len(rows))
			}
			for _, r := range rows {
				variance += (r[j] - mean) * (r[j] - mean) / float64(len(rows))
			}
			want += math.Sqrt(variance) / float64(encoder.Dim())
		}
		if math.Abs(got.Spread-want) > 1e-5 {
			t.Errorf("%s: spread %v: want %v", o.Loss, got.Spread, want)
		}
	}
}

// TestDivergence: a loss that is no number stops the training before it gets into the weights.
func TestDivergence(t *testing.T) {
	c := testConfig(testNets()["seed-like"], LossOptions{Loss: LossTriplet, Miner: MinerRandom, Margin: 1}, 2)
	n := mustNetwork(t, c)
	x := testImages(rand.New(rand.NewPCG(35, 36)), n.inputLen())
	x[100] = float32(math.NaN())
	before := n.state()
	if _, err := n.step(x, 0.1); !errors.Is(err, ErrDiverged) {
		t.Errorf("error %v: want %v", err, ErrDiverged)
	}
	sameWeights(t, "after it", n.state(), before)
	if _, err := n.step(x[1:], 0.1); err == nil {
		t.Error("no error for a short batch")
	}
}

// TestSolvedBatch: where no triplet has a loss, only momentum and weight decay move the weights, and no work is done on
// gradients of zeros.
func TestSolvedBatch(t *testing.T) {
	c := testConfig(testNets()["seed-like"], LossOptions{Loss: LossTriplet, Miner: MinerRandom, Margin: 0.1}, 2)
	c.Momentum, c.WeightDecay = 0.9, 0.01
	n := mustNetwork(t, c)
	third := n.inputLen() / 3
	x := testImages(rand.New(rand.NewPCG(37, 38)), n.inputLen())
	if _, err := n.step(x, 0.01); err != nil { // gives velocities
		t.Fatal(err)
	}
	before := n.state()
	copy(x[third:2*third], x[:third])
	for i := range x[2*third:] {
		x[2*third+i] = -20 * x[i]
	}
	r, err := n.step(x, 0.01)
	if err != nil {
		t.Fatal(err)
	}
	if r.Loss != 0 || r.Active != 0 || r.PositiveDistance != 0 {
		t.Fatalf("the batch is not solved: %+v", r)
	}
	after := n.state()
	for _, p := range c.Architecture.Parameters() {
		for i, w := range before[p.Name].Data {
			g := 0.0
			if p.Role == embedder.RoleWeight {
				g = 0.01 * float64(w)
			}
			v := 0.9*float64(before[velocityPrefix+p.Name].Data[i]) + g
			if want := float64(w) - 0.01*v; math.Abs(float64(after[p.Name].Data[i])-want) > 1e-6 {
				t.Fatalf("%s[%d] is %v: want %v", p.Name, i, after[p.Name].Data[i], want)
			}
		}
	}
}

func TestNetworkConfig(t *testing.T) {
	good := testConfig(testNets()["seed-like"], LossOptions{Loss: LossTriplet, Miner: MinerHard, Margin: 1}, 2)
	for name, c := range map[string]struct {
		spoil func(*networkConfig)
		want  error
	}{
		"loss":         {func(c *networkConfig) { c.Loss.Loss = "x" }, ErrOptions},
		"rows":         {func(c *networkConfig) { c.Rows = 3 }, ErrOptions},
		"groups":       {func(c *networkConfig) { c.Groups = 1 }, ErrOptions},
		"momentum":     {func(c *networkConfig) { c.Momentum = 1 }, ErrOptions},
		"NaN momentum": {func(c *networkConfig) { c.Momentum = math.NaN() }, ErrOptions},
		"weight decay": {func(c *networkConfig) { c.WeightDecay = -1 }, ErrOptions},
		"architecture": {func(c *networkConfig) { c.Architecture.Layers = c.Architecture.Layers[:3] }, embedder.ErrArchitecture},
		"weights":      {func(c *networkConfig) { c.Weights = embedder.Weights{} }, nil},
		"all frozen": {func(c *networkConfig) {
			c.Architecture = c.Architecture.Clone()
			for i := range c.Architecture.Layers {
				l := &c.Architecture.Layers[i]
				l.Frozen = l.Kind == embedder.Conv || l.Kind == embedder.Linear
			}
		}, nil},
	} {
		config := good
		c.spoil(&config)
		_, err := newNetwork(config)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: error %v: want %v", name, err, c.want)
		}
	}
}

// TestMemory: no result lies where another one is still wanted, and most memory is used more than once.
func TestMemory(t *testing.T) {
	nets := testNets()
	nets["n77"] = n77()
	for name, a := range nets {
		n := mustNetwork(t, withHead(testConfig(a, LossOptions{Loss: LossNTXent, Temperature: 0.5}, 2)))
		type span struct {
			v           *variable[float32]
			first, last int
		}
		spans := map[*variable[float32]]*span{}
		total := 0
		for i, o := range n.graph.order {
			if o.out.hollow || len(o.out.shape) == 0 {
				continue
			}
			if o.out.alias == nil {
				spans[o.out] = &span{o.out, i, i}
				total += o.out.len()
			}
		}
		for i, o := range n.graph.order {
			for _, v := range o.args {
				if s := spans[v.root()]; s != nil {
					s.last = i
				}
			}
		}
		memory := map[*float32]int{}
		for v, s := range spans {
			if v.keep {
				s.last = len(n.graph.order)
			}
			memory[&v.data[0]] = max(memory[&v.data[0]], len(v.data))
			for w, u := range spans {
				if v == w || &v.data[0] != &w.data[0] {
					continue
				}
				// A result may begin where its own argument ends.
				if s.first < u.last && u.first < s.last {
					t.Errorf("%s: %s [%d, %d] and %s [%d, %d] share memory", name, v.name, s.first, s.last, w.name, u.first, u.last)
				}
			}
		}
		used := 0
		for _, m := range memory {
			used += m
		}
		if name == "n77" && float64(used) > 0.65*float64(total) {
			t.Errorf("%s: %d values in use for %d", name, used, total)
		}
		t.Logf("%s: %d values in use for %d", name, used, total)
	}
}

// TestStepAllocates: a step leaves no activations to the garbage collector.
func TestStepAllocates(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector empties pools")
	}
	a := n77()
	a.InputSize = 16
	o := LossOptions{Loss: LossSmoothTriplet, Temperature: 0.1}
	c := networkConfig{
		Architecture: a, Weights: embedder.InitWeights(a, rand.New(rand.NewPCG(1, 2))), Loss: o,
		Groups: 8, Rows: 2, Threads: 1, Momentum: 0.9,
	}
	n := mustNetwork(t, c)
	x := testImages(rand.New(rand.NewPCG(1, 2)), n.inputLen())
	step := func() {
		if _, err := n.step(x, 0.01); err != nil {
			t.Fatal(err)
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties pools of scratch memory
	const steps = 20
	for range 3 { // which fill them
		step()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range steps {
		step()
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / steps; got > 1<<15 { // what is left is the tape's, and some closures
		t.Errorf("%d bytes allocated a step", got)
	} else {
		t.Logf("%d bytes allocated a step", got)
	}
}

func testImages(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.Float64()*2 - 1)
	}
	return x
}

// n77 is a plain net of 77 MFLOP an image.
func n77() embedder.Architecture {
	a := embedder.Architecture{InputSize: 32, Std: [3]float32{1, 1, 1}}
	for _, c := range [][2]int{{32, 1}, {32, 1}, {64, 2}, {64, 1}, {128, 2}, {128, 1}} {
		a.Layers = append(a.Layers,
			embedder.Layer{Kind: embedder.Conv, Out: c[0], Kernel: 3, Stride: c[1], Pad: 1},
			embedder.Layer{Kind: embedder.BatchNorm}, embedder.Layer{Kind: embedder.ReLU})
	}
	a.Layers = append(a.Layers, embedder.Layer{Kind: embedder.GlobalMean},
		embedder.Layer{Kind: embedder.Linear, Out: 64, Bias: true}, embedder.Layer{Kind: embedder.L2Norm})
	return a
}

func BenchmarkStep(b *testing.B) {
	triplet := LossOptions{Loss: LossTriplet, Miner: MinerRandom, Margin: 0.5}
	preset := recipeByName("default")
	net := preset.net(32, 64)
	net.Std = [3]float32{1, 1, 1}
	for _, c := range []struct {
		name   string
		net    embedder.Architecture
		loss   LossOptions
		groups int
	}{
		{"seed-1-triplet", embedder.SeedArchitecture(), triplet, 1},
		{"seed-32-triplets", embedder.SeedArchitecture(), triplet, 32},
		{"n77-64-pairs", n77(), LossOptions{Loss: LossSmoothTriplet, Temperature: 0.1}, 64},
		{"n77-256-pairs", n77(), LossOptions{Loss: LossSmoothTriplet, Temperature: 0.1}, 256},
		{"default-256-pairs", net, preset.options.Loss, 256},
	} {
		for _, threads := range []int{1, 2} {
			for _, precision := range Precisions() {
				b.Run(fmt.Sprintf("%s/threads=%d/%s", c.name, threads, precision), func(b *testing.B) {
					if _, err := precision.complete(); err != nil {
						b.Skip(err)
					}
					rng := rand.New(rand.NewPCG(1, 2))
					n, err := newNetwork(networkConfig{
						Architecture: c.net, Weights: embedder.InitWeights(c.net, rng), Loss: c.loss,
						Groups: c.groups, Rows: c.loss.rows(), Threads: threads, Precision: precision, Momentum: 0.9, Nesterov: c.groups >= 64,
					})
					if err != nil {
						b.Fatal(err)
					}
					defer n.close()
					x := testImages(rng, n.inputLen())
					b.ReportAllocs()
					for b.Loop() {
						if _, err := n.step(x, 1e-4); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(n.batch)*float64(b.N)/b.Elapsed().Seconds(), "images/s")
				})
			}
		}
	}
}
