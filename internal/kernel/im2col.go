package kernel

import "fmt"

// ConvSize returns how many positions a window of kernel taps, dilation apart, takes on a line of size values with pad
// zeros at each end, moving stride at a time; 0 where the window does not fit.
func ConvSize(size, kernel, stride, pad, dilation int) int {
	span := dilation*(kernel-1) + 1
	if size+2*pad < span {
		return 0
	}
	return (size+2*pad-span)/stride + 1
}

// Im2col writes the windows of a convolution over one image as the columns of a matrix, so that the convolution is the
// product of the weights [Out, c*kernel*kernel] and that matrix.
//
// image is [c, h, w]. columns is [c*kernel*kernel, oh*ow] with oh = [ConvSize](h, …) and ow = ConvSize(w, …): row
// (ch*kernel+ky)*kernel+kx holds, at position oy*ow+ox, the pixel (oy*stride - pad + ky*dilation,
// ox*stride - pad + kx*dilation) of channel ch, 0 where that lies outside. Every value of columns is overwritten.
func Im2col[T Float](image []T, c, h, w, kernel, stride, pad, dilation int, columns []T) {
	oh, ow := checkConv("Im2col", len(image), c, h, w, kernel, stride, pad, dilation, len(columns))
	row := 0
	for ch := range c {
		plane := image[ch*h*w:][:h*w]
		for ky := range kernel {
			for kx := range kernel {
				out := columns[row*oh*ow:][:oh*ow]
				row++
				from, to := inside(w, ow, stride, kx*dilation-pad)
				for oy := range oh {
					line := out[oy*ow:][:ow]
					y := oy*stride - pad + ky*dilation
					if y < 0 || y >= h || from >= to {
						clear(line)
						continue
					}
					clear(line[:from])
					clear(line[to:])
					x := from*stride + kx*dilation - pad
					if stride == 1 {
						copy(line[from:to], plane[y*w+x:])
						continue
					}
					src := plane[y*w : (y+1)*w]
					for ox := from; ox < to; ox++ {
						line[ox] = src[x]
						x += stride
					}
				}
			}
		}
	}
}

// Col2im is the transpose of [Im2col], which is what the gradient of a convolution with respect to its input needs: it
// adds every value of columns to the pixel that Im2col reads for it. image is added to, not overwritten: clear it
// first unless a sum is wanted.
func Col2im[T Float](columns []T, c, h, w, kernel, stride, pad, dilation int, image []T) {
	oh, ow := checkConv("Col2im", len(image), c, h, w, kernel, stride, pad, dilation, len(columns))
	row := 0
	for ch := range c {
		plane := image[ch*h*w:][:h*w]
		for ky := range kernel {
			for kx := range kernel {
				in := columns[row*oh*ow:][:oh*ow]
				row++
				from, to := inside(w, ow, stride, kx*dilation-pad)
				if from >= to {
					continue
				}
				for oy := range oh {
					y := oy*stride - pad + ky*dilation
					if y < 0 || y >= h {
						continue
					}
					line := in[oy*ow:][from:to]
					x := from*stride + kx*dilation - pad
					if stride == 1 {
						Add(line, plane[y*w+x:][:len(line)])
						continue
					}
					dst := plane[y*w : (y+1)*w]
					for _, v := range line {
						dst[x] += v
						x += stride
					}
				}
			}
		}
	}
}

// inside returns the positions [from, to) of a line of count windows whose tap at offset lies within [0, size).
func inside(size, count, stride, offset int) (from, to int) {
	if offset < 0 {
		from = (-offset + stride - 1) / stride
	}
	if size > offset {
		to = (size-offset-1)/stride + 1
	}
	return min(from, count), max(min(to, count), min(from, count))
}

func checkConv(name string, image, c, h, w, kernel, stride, pad, dilation, columns int) (oh, ow int) {
	if c < 0 || h < 0 || w < 0 || kernel < 1 || stride < 1 || pad < 0 || dilation < 1 {
		panic(fmt.Sprintf("kernel: %s of [%d %d %d] with kernel %d, stride %d, pad %d, dilation %d", name, c, h, w, kernel, stride, pad, dilation))
	}
	oh, ow = ConvSize(h, kernel, stride, pad, dilation), ConvSize(w, kernel, stride, pad, dilation)
	if image < c*h*w || columns < c*kernel*kernel*oh*ow {
		panic(fmt.Sprintf("kernel: %s: %d values for an image of [%d %d %d], %d for columns of [%d %d]", name, image, c, h, w, columns, c*kernel*kernel, oh*ow))
	}
	return oh, ow
}
