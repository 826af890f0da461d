package embedder

// Role says what a parameter is to its layer.
type Role string

const (
	// RoleWeight is the weight of a Conv or Linear layer.
	RoleWeight Role = "weight"
	// RoleBias is the bias of a Conv or Linear layer.
	RoleBias Role = "bias"
	// RoleScale is the weight of a BatchNorm layer.
	RoleScale Role = "scale"
	// RoleShift is the bias of a BatchNorm layer.
	RoleShift Role = "shift"
	// RoleRunningMean is the running mean of a BatchNorm layer: no gradient descends on it.
	RoleRunningMean Role = "running mean"
	// RoleRunningVar is the running variance (unbiased) of a BatchNorm layer: no gradient descends on it.
	RoleRunningVar Role = "running variance"
)

// Parameter is a tensor that an architecture needs.
type Parameter struct {
	// Name is the tensor's name in [Weights] and in the file, that which PyTorch would give it: "layers.0.weight",
	// "layers.3.body.0.running_mean".
	Name string
	// Shape is PyTorch's: [Out, In, Kernel, Kernel] for the weight of a Conv, [Out, In] for that of a Linear, [C] for
	// all others.
	Shape []int
	Role  Role
	// Layer is the layer that the parameter belongs to.
	Layer Layer
	// FanIn is the number of input values that go into one output value of the layer; 0 for BatchNorm.
	FanIn int
}

// Len returns the number of values.
func (p Parameter) Len() int { return product(p.Shape) }

// Trainable reports whether gradient descent changes the parameter: it is no running statistic and its layer is not
// frozen.
func (p Parameter) Trainable() bool {
	return !p.Layer.Frozen && p.Role != RoleRunningMean && p.Role != RoleRunningVar
}

// Parameters returns all parameters in a fixed order: that of [Architecture.Steps], and within a layer weight, bias,
// running mean, running variance. It returns nil where the architecture is not valid or has none.
func (a Architecture) Parameters() []Parameter {
	steps, err := a.trace()
	if err != nil {
		return nil
	}
	return parametersOf(steps)
}

func parametersOf(steps []Step) []Parameter {
	var out []Parameter
	for _, s := range steps {
		l := s.Layer
		add := func(name string, role Role, fanIn int, shape ...int) {
			out = append(out, Parameter{Name: s.Path + "." + name, Shape: shape, Role: role, Layer: l, FanIn: fanIn})
		}
		switch l.Kind {
		case Conv:
			fanIn := s.In.C * l.Kernel * l.Kernel
			add("weight", RoleWeight, fanIn, l.Out, s.In.C, l.Kernel, l.Kernel)
			if l.Bias {
				add("bias", RoleBias, fanIn, l.Out)
			}
		case Linear:
			add("weight", RoleWeight, s.In.C, l.Out, s.In.C)
			if l.Bias {
				add("bias", RoleBias, s.In.C, l.Out)
			}
		case BatchNorm:
			add("weight", RoleScale, 0, s.In.C)
			add("bias", RoleShift, 0, s.In.C)
			add("running_mean", RoleRunningMean, 0, s.In.C)
			add("running_var", RoleRunningVar, 0, s.In.C)
		}
	}
	return out
}

// Parameters returns the number of values that the layer itself holds, running statistics counted; those of a residual
// body belong to the body's layers.
func (s Step) Parameters() int64 {
	in, out := int64(s.In.C), int64(s.Layer.Out)
	var n int64
	switch s.Layer.Kind {
	case Conv:
		n = out * in * int64(s.Layer.Kernel*s.Layer.Kernel)
	case Linear:
		n = out * in
	case BatchNorm:
		return 4 * in
	}
	if s.Layer.Bias {
		n += out
	}
	return n
}

// FLOPs returns the floating-point operations that the layer itself takes for one image. As is usual, only
// convolutions and linear layers count, two operations for each multiply-add; the rest is small beside them. What is
// computed several times counts as often.
func (s Step) FLOPs() int64 {
	in, out := int64(s.In.C), int64(s.Layer.Out)
	n := 2 * int64(s.Times) * out * in
	switch s.Layer.Kind {
	case Conv:
		return n * int64(s.Layer.Kernel*s.Layer.Kernel) * int64(s.Out.H) * int64(s.Out.W)
	case Linear:
		return n
	}
	return 0
}

// ParameterCount returns the number of values of all parameters, running statistics counted; 0 where the architecture
// is not valid.
func (a Architecture) ParameterCount() int64 { return a.sum(Step.Parameters) }

// FLOPs returns the floating-point operations for one image, counted as [Step.FLOPs] does; 0 where the architecture is
// not valid.
func (a Architecture) FLOPs() int64 { return a.sum(Step.FLOPs) }

func (a Architecture) sum(of func(Step) int64) int64 {
	steps, err := a.trace()
	if err != nil {
		return 0
	}
	var n int64
	for _, s := range steps {
		n += of(s)
	}
	return n
}

func product(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}
