package training

import (
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"imgsearch/internal/kernel"
)

// The training graph is gorgonia's: its nodes, its symbolic differentiation, its TapeMachine that decides on the order
// and runs it. The arithmetic is that of this package: an [operation] is one coarse gorgonia.Op, such as a whole
// convolution with bias and ReLU, working on memory that it knows of beforehand, so that a step allocates next to
// nothing. float64 is there for checks of gradients.
//
// Activations of images are blocked (see op_lanes.go), flat ones are [N, F].

// graph is a gorgonia graph with the memory of its values.
type graph[T kernel.Float] struct {
	expr       *gorgonia.ExprGraph
	machine    gorgonia.VM
	threads    int
	precision  Precision // of convolutions
	operations []*operation[T]
	variables  map[*gorgonia.Node]*variable[T]

	// order is what the machine ran in its first run, in which nothing is computed.
	recording bool
	order     []*operation[T]

	// dense has all gradients of parameters in memory of their own, so that others can be added to them.
	dense bool
	// guest graphs work on parameters that are another graph's, and leave running statistics as they are.
	guest bool

	// noGradient is set by a loss whose gradient is all zeros: what is backward of it has nothing to do then.
	noGradient bool
}

// variable is a value of the graph: an input, a parameter, or what an operation makes.
type variable[T kernel.Float] struct {
	name  string
	shape []int // empty for a scalar
	node  *gorgonia.Node
	value gorgonia.Value // what the machine hands around; for tensors it wraps data
	data  []T
	// needsGradient tells whether a trainable parameter lies upstream.
	needsGradient bool
	// by makes the variable; nil for inputs and parameters.
	by *operation[T]
	// keep holds the memory until the end of the run; otherwise it is reused after the last operation that reads it.
	keep bool
	// alias is the variable whose memory this one shares.
	alias *variable[T]
	// hollow variables have no memory: they stand for something that is kept elsewhere.
	hollow bool
}

func (v *variable[T]) len() int {
	n := 1
	for _, s := range v.shape {
		n *= s
	}
	return n
}

// root returns the variable that owns the memory.
func (v *variable[T]) root() *variable[T] {
	for v.alias != nil {
		v = v.alias
	}
	return v
}

// operation is a gorgonia.Op with its arguments and its result.
type operation[T kernel.Float] struct {
	graph *graph[T]
	name  string
	id    uint32
	args  []*variable[T]
	out   *variable[T]
	// run computes out from args.
	run func()
	// diff emits the operations that compute the gradients with respect to args from that of out; nil for those that
	// need none, and nil itself where the operation is not differentiable.
	diff func(grad *variable[T]) ([]*variable[T], error)
	// stops names an argument that gets no gradient although it needs one: another operation sees to that. -1: none.
	stops int
	// backward operations are left out where the gradient is known to be zero.
	backward bool
	// overwrites is the argument whose memory the result may take over if nothing reads it any more; -1: none.
	overwrites int
	// onImages is nil or, where the operation makes images and grouped says that it calls it, is told of groups of images
	// (see [laneSums]), [first, end), as soon as they are made and before others push them out of the cache.
	onImages func(first, end int)
	grouped  bool
	// scalar is where run of an operation with a scalar result puts it.
	scalar T
}

func newGraph[T kernel.Float](threads int) *graph[T] {
	return &graph[T]{
		expr:      gorgonia.NewGraph(),
		threads:   kernel.Threads(threads),
		variables: map[*gorgonia.Node]*variable[T]{},
	}
}

func dtype[T kernel.Float]() tensor.Dtype {
	if _, ok := any(T(0)).(float32); ok {
		return tensor.Float32
	}
	return tensor.Float64
}

// leaf adds an input or a parameter with memory of its own.
func (g *graph[T]) leaf(name string, trainable bool, shape ...int) *variable[T] {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return g.leafOn(make([]T, n), name, trainable, shape...)
}

// leafOn is leaf on given memory.
func (g *graph[T]) leafOn(data []T, name string, trainable bool, shape ...int) *variable[T] {
	v := &variable[T]{name: name, shape: slices.Clone(shape), needsGradient: trainable, keep: true}
	v.setData(data)
	v.node = gorgonia.NewTensor(g.expr, dtype[T](), len(shape), gorgonia.WithName(name), gorgonia.WithShape(shape...),
		gorgonia.WithValue(v.value))
	g.variables[v.node] = v
	return v
}

func (v *variable[T]) setData(data []T) {
	v.data = data
	v.value = tensor.New(tensor.Of(dtype[T]()), tensor.WithShape(v.shape...), tensor.WithBacking(data))
}

// add puts an operation into the graph, its result having the given shape, and returns the result.
func (g *graph[T]) add(o *operation[T], shape []int, args ...*variable[T]) (*variable[T], error) {
	o.graph, o.args, o.id = g, args, uint32(len(g.operations)+1)
	o.out = &variable[T]{name: o.name, shape: slices.Clone(shape), by: o}
	nodes := make([]*gorgonia.Node, len(args))
	for i, a := range args {
		nodes[i] = a.node
		if a.needsGradient && i != o.stops && o.diff != nil {
			o.out.needsGradient = true
		}
	}
	node, err := gorgonia.ApplyOp(o, nodes...)
	if err != nil {
		return nil, fmt.Errorf("add %s to the graph: %w", o.name, err)
	}
	o.out.node = node
	g.operations = append(g.operations, o)
	g.variables[node] = o.out
	return o.out, nil
}

// gradientOf adds what stands in the graph for the gradient of a parameter. It computes nothing: the backward
// operation, whose result it takes as argument, has left the gradient with the parameter.
func (g *graph[T]) gradientOf(p *parameter[T], backward *variable[T]) (*variable[T], error) {
	o := &operation[T]{name: "gradient of " + p.name, run: func() {}, stops: -1, overwrites: -1}
	v, err := g.add(o, p.shape, backward)
	if err != nil {
		return nil, err
	}
	v.hollow = true
	return v, nil
}

// differentiate adds the gradients of the scalar cost with respect to the parameters.
func (g *graph[T]) differentiate(cost *variable[T], parameters []*parameter[T]) error {
	nodes := make(gorgonia.Nodes, len(parameters))
	for i, p := range parameters {
		nodes[i] = p.node
	}
	if _, err := gorgonia.Grad(cost.node, nodes...); err != nil {
		return fmt.Errorf("differentiate the loss: %w", err)
	}
	return nil
}

// compile makes the machine, learns from it in which order it runs the operations, and gives the results memory.
func (g *graph[T]) compile() (err error) {
	defer func() { // NewTapeMachine panics where the graph cannot be compiled
		if r := recover(); r != nil {
			err = fmt.Errorf("compile the training graph: %v", r)
		}
	}()
	for _, o := range g.operations {
		// What the machine hands around in the run that computes nothing.
		if len(o.out.shape) == 0 {
			o.out.value = scalarValue(T(0))
		} else {
			o.out.value = tensor.New(tensor.Of(dtype[T]()), tensor.WithShape(1))
		}
	}
	g.machine = gorgonia.NewTapeMachine(g.expr)
	g.recording = true
	err = g.machine.RunAll()
	g.machine.Reset()
	g.recording = false
	if err != nil {
		return fmt.Errorf("compile the training graph: %w", err)
	}
	if len(g.order) != len(g.operations) {
		return fmt.Errorf("compile the training graph: %d of %d operations run", len(g.order), len(g.operations))
	}
	g.assignMemory()
	return nil
}

// runAll computes everything.
func (g *graph[T]) runAll() error {
	g.noGradient = false
	defer g.machine.Reset()
	return g.machine.RunAll()
}

func (g *graph[T]) close() error { return g.machine.Close() }

// buffer is memory that results share one after the other.
type buffer struct {
	len  int
	free bool
}

// assignMemory gives each result memory that no other one uses from the operation that makes it to the last one that
// reads it.
func (g *graph[T]) assignMemory() {
	last := map[*variable[T]]int{}
	for i, o := range g.order {
		last[o.out.root()] = max(i, last[o.out.root()])
		for _, a := range o.args {
			last[a.root()] = i
		}
	}
	for _, o := range g.order {
		if o.out.keep {
			last[o.out.root()] = len(g.order)
		}
	}
	var buffers []*buffer
	of := map[*variable[T]]*buffer{}
	take := func(n int) *buffer {
		var best *buffer
		for _, b := range buffers {
			if !b.free {
				continue
			}
			// The smallest that is large enough, or else the largest.
			if best == nil || (b.len >= n && (best.len < n || b.len < best.len)) || (best.len < n && b.len > best.len) {
				best = b
			}
		}
		if best == nil {
			best = &buffer{}
			buffers = append(buffers, best)
		}
		best.len, best.free = max(best.len, n), false
		return best
	}
	for i, o := range g.order {
		if o.out.alias == nil && !o.out.hollow && len(o.out.shape) > 0 {
			if k := o.overwrites; k >= 0 {
				if a := o.args[k].root(); of[a] != nil && last[a] == i && a.len() == o.out.len() {
					of[o.out] = of[a]
				}
			}
			if of[o.out] == nil {
				of[o.out] = take(o.out.len())
			}
		}
		for _, a := range append([]*variable[T]{o.out}, o.args...) {
			if a := a.root(); of[a] != nil && last[a] == i && (a == o.out.root() || of[a] != of[o.out.root()]) {
				of[a].free = true
			}
		}
	}
	memory := map[*buffer][]T{}
	for _, b := range buffers {
		memory[b] = make([]T, b.len)
	}
	for _, o := range g.order {
		switch {
		case len(o.out.shape) == 0, o.out.hollow:
		case o.out.alias != nil:
			o.out.setData(o.out.root().data[:o.out.len()])
		default:
			o.out.setData(memory[of[o.out]][:o.out.len()])
		}
	}
}

// scalarValue returns a gorgonia scalar.
func scalarValue[T kernel.Float](x T) gorgonia.Value {
	if f, ok := any(x).(float32); ok {
		return gorgonia.NewF32(f)
	}
	return gorgonia.NewF64(float64(x))
}

// Arity implements gorgonia.Op.
func (o *operation[T]) Arity() int { return len(o.args) }

// Type implements gorgonia.Op.
func (o *operation[T]) Type() hm.Type {
	types := make([]hm.Type, 0, len(o.args)+1)
	for _, v := range append(slices.Clip(o.args), o.out) {
		if len(v.shape) == 0 {
			types = append(types, dtype[T]())
		} else {
			types = append(types, gorgonia.TensorType{Dims: len(v.shape), Of: dtype[T]()})
		}
	}
	return hm.NewFnType(types...)
}

// InferShape implements gorgonia.Op.
func (o *operation[T]) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return slices.Clone(o.out.shape), nil
}

// errForeignValue would mean that gorgonia took one value for another.
var errForeignValue = errors.New("not the value that the operation was built on")

// Do implements gorgonia.Op.
func (o *operation[T]) Do(inputs ...gorgonia.Value) (gorgonia.Value, error) {
	for i, a := range o.args {
		if len(a.shape) > 0 && inputs[i] != a.value {
			return nil, fmt.Errorf("%s: argument %d: %w", o.name, i, errForeignValue)
		}
	}
	switch {
	case o.graph.recording:
		o.graph.order = append(o.graph.order, o)
	case o.backward && o.graph.noGradient:
	default:
		o.run()
		if len(o.out.shape) == 0 {
			o.out.value = scalarValue(o.scalar)
		}
	}
	return o.out.value, nil
}

// UsePreallocDo implements gorgonia.UsePreallocDoer; the memory is always the operation's own.
func (o *operation[T]) UsePreallocDo(_ gorgonia.Value, inputs ...gorgonia.Value) (gorgonia.Value, error) {
	return o.Do(inputs...)
}

// DiffWRT implements gorgonia.SDOp.
func (o *operation[T]) DiffWRT(inputs int) []bool {
	wrt := make([]bool, inputs)
	for i := range wrt {
		wrt[i] = o.diff != nil && i != o.stops && o.args[i].needsGradient
	}
	return wrt
}

// SymDiff implements gorgonia.SDOp.
func (o *operation[T]) SymDiff(_ gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	g := o.graph.variables[grad]
	if g == nil { // the one that gorgonia starts with
		g = &variable[T]{name: "one", node: grad}
	}
	gradients, err := o.diff(g)
	if err != nil {
		return nil, err
	}
	nodes := make(gorgonia.Nodes, len(gradients))
	for i, v := range gradients {
		if v != nil {
			nodes[i] = v.node
		}
	}
	return nodes, nil
}

// ReturnsPtr implements gorgonia.Op.
func (o *operation[T]) ReturnsPtr() bool { return true }

// CallsExtern implements gorgonia.Op.
func (o *operation[T]) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op: memory is shared by [graph.assignMemory], not by gorgonia.
func (o *operation[T]) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia.Op. No two operations are the same.
func (o *operation[T]) WriteHash(h hash.Hash) { fmt.Fprintf(h, "%s %d", o.name, o.id) }

// Hashcode implements gorgonia.Op.
func (o *operation[T]) Hashcode() uint32 { return o.id }

func (o *operation[T]) String() string { return o.name }

var (
	_ gorgonia.SDOp            = (*operation[float32])(nil)
	_ gorgonia.UsePreallocDoer = (*operation[float32])(nil)
)
