package samplecodec

// Shape of a record: a label, then three planes (red, green, blue) of 32x32 pixels.
const (
	side        = 32
	plane       = side * side
	RecordBytes = 1 + 3*plane
)

// contexts is the number of streams a plane.
const contexts = 14

// thresholds are the activities at which the next context begins.
var thresholds = [contexts - 1]int{2, 4, 7, 10, 14, 19, 25, 32, 40, 50, 65, 85, 120}

// contextOf[a] is the context of activity a; larger activities belong to the last context.
var contextOf = func() (table [128]uint8) {
	for a := range table {
		for _, t := range thresholds {
			if a >= t {
				table[a]++
			}
		}
	}
	return table
}()

// A model holds the three decorrelated planes of the record being coded: green, red-green and blue-green, the latter
// modulo 256 as numbers from -128 to 127.
type model struct {
	values [3][plane]int
	// effort is the size of the residuals of the plane coded last.
	effort [plane]int
}

// predict returns the expected value of pixel (x, y) of plane p, and the context of its residual. It looks only at
// pixels that come before, in the order of planes and rows, and so gives the same answer to writer and reader.
func (m *model) predict(p, x, y int) (value, context int) {
	v := &m.values[p]
	at := y*side + x
	var west, north, northwest, northeast int
	switch {
	case x == 0 && y == 0:
		if p == 0 {
			west = 128
		}
		north, northwest, northeast = west, west, west
	case y == 0:
		west = v[at-1]
		north, northwest, northeast = west, west, west
	case x == 0:
		north = v[at-side]
		west, northwest, northeast = north, north, v[at-side+1]
	default:
		west, north, northwest = v[at-1], v[at-side], v[at-side-1]
		northeast = north
		if x < side-1 {
			northeast = v[at-side+1]
		}
	}
	activity := abs(west-northwest) + abs(north-northwest) + abs(northeast-north)
	if p == 2 {
		activity += 4 * m.effort[at] // where red surprised, blue will
	}
	low, high := min(west, north), max(west, north)
	switch {
	case northwest >= high:
		value = low
	case northwest <= low:
		value = high
	default:
		value = west + north - northwest
	}
	return value, int(contextOf[min(activity, len(contextOf)-1)])
}

// set keeps the value of a pixel and the residual that it was coded by.
func (m *model) set(p, x, y, value, residual int) {
	at := y*side + x
	m.values[p][at] = value
	m.effort[at] = abs(residual)
}

// split fills the planes from the pixels of a record.
func (m *model) split(pixels []byte) {
	for i := range plane {
		red, green, blue := int(pixels[i]), int(pixels[plane+i]), int(pixels[2*plane+i])
		m.values[0][i], m.values[1][i], m.values[2][i] = green, wrap(red-green), wrap(blue-green)
	}
}

// join is the inverse of split.
func (m *model) join(pixels []byte) {
	for i := range plane {
		green := m.values[0][i]
		pixels[i] = byte(green + m.values[1][i])
		pixels[plane+i] = byte(green)
		pixels[2*plane+i] = byte(green + m.values[2][i])
	}
}

// wrap reduces a number modulo 256 to the range from -128 to 127.
func wrap(v int) int { return int(int8(v)) }

func abs(v int) int {
	if v < 0 {
		return -v
	}
	return v
}
