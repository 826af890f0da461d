package embedder

import "math"

// reference runs a net as its definition says, layer by layer, in plain loops and float64, with nothing folded or
// fused. It returns what each layer, named by its path, makes of one normalised image. Its layers before a MirrorMean run
// on the mirror image first.
func reference(a Architecture, weights Weights, input []float32) map[string][]float64 {
	out := map[string][]float64{}
	x, mirrored := make([]float64, len(input)), make([]float64, len(input))
	for i, v := range input {
		x[i] = float64(v)
		row := i / a.InputSize * a.InputSize
		mirrored[row+a.InputSize-1-(i-row)] = float64(v)
	}
	for i, l := range a.Layers {
		if l.Kind == MirrorMean {
			referenceLayers("layers", a.Layers[:i], a.InputShape(), mirrored, weights, out)
			out["mirrored"] = out["layers."+itoa(i-1)]
		}
	}
	referenceLayers("layers", a.Layers, a.InputShape(), x, weights, out)
	return out
}

func referenceLayers(prefix string, layers []Layer, in Shape, x []float64, weights Weights, all map[string][]float64) []float64 {
	for i, l := range layers {
		path := prefix + "." + itoa(i)
		out := in
		if l.Kind != Residual {
			out, _ = l.outputShape(in)
		}
		y := make([]float64, out.Len())
		parameter := func(name string, i int) float64 { return float64(weights[path+"."+name].Data[i]) }
		switch l.Kind {
		case Conv:
			weight := weights[path+".weight"].Data
			for o := range out.C {
				bias := 0.0
				if l.Bias {
					bias = parameter("bias", o)
				}
				for oy := range out.H {
					for ox := range out.W {
						sum := bias
						for c := range in.C {
							for ky := range l.Kernel {
								for kx := range l.Kernel {
									iy := oy*l.StrideOrOne() - l.Pad + ky*l.DilationOrOne()
									ix := ox*l.StrideOrOne() - l.Pad + kx*l.DilationOrOne()
									if iy >= 0 && iy < in.H && ix >= 0 && ix < in.W {
										sum += x[(c*in.H+iy)*in.W+ix] * float64(weight[((o*in.C+c)*l.Kernel+ky)*l.Kernel+kx])
									}
								}
							}
						}
						y[(o*out.H+oy)*out.W+ox] = sum
					}
				}
			}
		case BatchNorm:
			plane := max(in.H, 1) * max(in.W, 1)
			for i := range y {
				c := i / plane
				y[i] = (x[i]-parameter("running_mean", c))/math.Sqrt(parameter("running_var", c)+1e-5)*parameter("weight", c) + parameter("bias", c)
			}
		case ReLU:
			for i := range y {
				y[i] = math.Max(x[i], 0)
			}
		case MaxPool:
			for c := range out.C {
				for oy := range out.H {
					for ox := range out.W {
						m := math.Inf(-1)
						for ky := range l.Kernel {
							for kx := range l.Kernel {
								m = math.Max(m, x[(c*in.H+oy*l.StrideOrOne()+ky)*in.W+ox*l.StrideOrOne()+kx])
							}
						}
						y[(c*out.H+oy)*out.W+ox] = m
					}
				}
			}
		case GlobalMean:
			for i, v := range x {
				y[i/(in.H*in.W)] += v / float64(in.H*in.W)
			}
		case Flatten:
			copy(y, x)
		case Linear:
			weight := weights[path+".weight"].Data
			for o := range y {
				if l.Bias {
					y[o] = parameter("bias", o)
				}
				for i, v := range x {
					y[o] += v * float64(weight[o*in.C+i])
				}
			}
		case L2Norm:
			sum := 0.0
			for _, v := range x {
				sum += v * v
			}
			for i, v := range x {
				y[i] = v / math.Max(math.Sqrt(sum), 1e-12)
			}
		case MirrorMean:
			for i, v := range x {
				y[i] = (v + all["mirrored"][i]) / 2
			}
		case Residual:
			for i, v := range referenceLayers(path+".body", l.Body, in, x, weights, all) {
				y[i] = x[i] + v
			}
		}
		all[path] = y
		x, in = y, out
	}
	return x
}
