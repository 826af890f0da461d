package training

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"imgsearch/embedder"
)

// gradientTolerance is the largest relative error of a gradient against central differences in float64.
const gradientTolerance = 1e-5

// checkGradients compares every parameter's gradient, or a sample of them, with central differences.
func checkGradients(t *testing.T, c networkConfig, input []float64) {
	t.Helper()
	n, err := newNetOf[float64](c)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	checkNetGradients(t, n, input)
}

// checkNetGradients is checkGradients for a net as it is. Targets are held at what they are in the first run.
func checkNetGradients(t *testing.T, n *netOf[float64], input []float64) {
	t.Helper()
	if err := n.setInput(input); err != nil {
		t.Fatal(err)
	}
	run := func() float64 {
		if err := n.run(); err != nil {
			t.Fatal(err)
		}
		return n.report.loss
	}
	if loss := run(); loss == 0 || math.IsNaN(loss) {
		t.Fatalf("loss %v: nothing to check", loss)
	}
	if n.targets != nil {
		n.targets.scorer.fromGraph = nil
	}
	gradients := map[string][]float64{}
	for _, p := range n.parameters {
		if p.trainable {
			v, err := p.Grad()
			if err != nil {
				t.Fatal(err)
			}
			gradients[p.name] = append([]float64(nil), v.Data().([]float64)...)
		}
	}
	var scale float64
	for _, g := range gradients {
		for _, v := range g {
			scale = max(scale, math.Abs(v))
		}
	}
	if scale == 0 {
		t.Fatal("all gradients are zero")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, p := range n.parameters {
		if !p.trainable {
			continue
		}
		g := gradients[p.name]
		for range min(len(g), 15) {
			i := rng.IntN(len(g))
			const h = 1e-5
			old := p.data[i]
			p.data[i] = old + h
			up := run()
			p.data[i] = old - h
			down := run()
			p.data[i] = old
			want := (up - down) / (2 * h)
			// Some are zero: that of a bias that batch normalisation takes away again. The difference quotient itself is
			// good to some 1e-10.
			if diff := math.Abs(g[i] - want); diff > gradientTolerance*max(math.Abs(want), 1e-3*scale)+1e-10 {
				t.Errorf("%s[%d]: gradient %v, central difference %v", p.name, i, g[i], want)
			}
		}
	}
}

func randomInput(seed uint64, n int) []float64 {
	rng := rand.New(rand.NewPCG(seed, 7))
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// allLosses are the losses with options at which the nets of the tests have loss to lose.
func allLosses() []LossOptions {
	return []LossOptions{
		{Loss: LossTriplet, Miner: MinerRandom, Margin: 3},
		{Loss: LossTriplet, Miner: MinerSemiHard, Margin: 1},
		{Loss: LossTriplet, Miner: MinerHard, Margin: 0.5},
		{Loss: LossTriplet, Miner: MinerAll, Margin: 0.7},
		{Loss: LossSmoothTriplet, Temperature: 0.5},
		{Loss: LossNTXent, Temperature: 0.5},
		{Loss: LossDecoupledNTXent, Temperature: 0.5},
		{Loss: LossAlignUniform},
		{Loss: LossAlignUniform, Weights: LossWeights{Uniformity: 0.3}},
		{Loss: LossVICReg},
		{Loss: LossVICReg, Weights: LossWeights{Invariance: 2, Variance: 3, Covariance: 4}},
		{Loss: LossBarlowTwins},
		{Loss: LossBarlowTwins, Weights: LossWeights{Redundancy: 0.3}},
		{Loss: LossMSE},
		{Loss: LossL1},
		{Loss: LossEMP, EMP: EMPOptions{Alignment: 3, Distortion: 0.5}},
	}
}

// testNets are tiny nets that have every kind of layer in them.
func testNets() map[string]embedder.Architecture {
	conv := func(out, k, stride, pad, dilation int, bias bool) embedder.Layer {
		return embedder.Layer{Kind: embedder.Conv, Out: out, Kernel: k, Stride: stride, Pad: pad, Dilation: dilation, Bias: bias}
	}
	linear := func(out int) embedder.Layer { return embedder.Layer{Kind: embedder.Linear, Out: out, Bias: true} }
	relu := embedder.Layer{Kind: embedder.ReLU}
	bn := embedder.Layer{Kind: embedder.BatchNorm}
	flatten := embedder.Layer{Kind: embedder.Flatten}
	mean := embedder.Layer{Kind: embedder.GlobalMean}
	pool := func(k, s int) embedder.Layer { return embedder.Layer{Kind: embedder.MaxPool, Kernel: k, Stride: s} }
	l2 := embedder.Layer{Kind: embedder.L2Norm}
	residual := func(body ...embedder.Layer) embedder.Layer {
		return embedder.Layer{Kind: embedder.Residual, Body: body}
	}
	net := func(size int, layers ...embedder.Layer) embedder.Architecture {
		return embedder.Architecture{InputSize: size, Std: [3]float32{1, 1, 1}, Layers: layers}
	}
	frozen := conv(5, 3, 1, 1, 1, true)
	frozen.Frozen = true
	frozenNorm := bn
	frozenNorm.Frozen = true
	return map[string]embedder.Architecture{
		"seed-like": net(11, conv(3, 3, 1, 0, 1, true), relu, conv(4, 3, 1, 0, 2, true), relu, conv(2, 3, 1, 0, 2, true), relu,
			flatten, linear(7), relu, linear(4)),
		"conv-bn": net(8, conv(4, 3, 1, 1, 1, false), bn, relu, conv(5, 3, 2, 1, 1, false), bn, relu, mean, linear(4), l2),
		"residual": net(6, frozen, relu, pool(2, 2), conv(4, 1, 1, 0, 1, false), bn, relu,
			residual(conv(4, 3, 1, 1, 1, false), bn, relu, conv(4, 3, 1, 1, 1, true)), relu,
			residual(conv(3, 1, 1, 0, 1, true), relu, conv(4, 3, 1, 2, 2, false), bn), pool(2, 1),
			conv(3, 2, 2, 1, 1, true), flatten, linear(6), bn, relu, residual(linear(6), relu), linear(4)),
		"odd": net(7, pool(2, 1), relu, bn, conv(3, 2, 3, 2, 1, false), frozenNorm, relu, conv(3, 1, 2, 0, 1, true), mean,
			bn, linear(3)),
	}
}

func TestGradients(t *testing.T) {
	for name, a := range testNets() {
		for _, o := range allLosses() {
			t.Run(fmt.Sprintf("%s/%s-%s", name, o.Loss, o.Miner), func(t *testing.T) {
				c := testConfig(a, o, 4)
				checkGradients(t, c, randomInput(5, c.Groups*c.Rows*3*a.InputSize*a.InputSize))
			})
		}
	}
}
