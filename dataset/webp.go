package dataset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"io"
	"math"

	"golang.org/x/image/webp"
)

func isWebP(head []byte) bool {
	return len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP"
}

// webpHeader is what a file in the extended format says of itself.
type webpHeader struct {
	animated      bool
	width, height int
}

const (
	webpPreamble   = 12                // RIFF, length, WEBP
	webpExtended   = webpPreamble + 18 // with the chunk VP8X
	webpAnimated   = 1 << 1            // bit of VP8X
	webpAlpha      = 1 << 4            // bit of VP8X
	webpFrameStart = 16                // bytes before the first chunk of ANMF
)

// parseWebPHeader reads the chunk VP8X; ok is false when the file does not begin with one.
func parseWebPHeader(head []byte) (h webpHeader, ok bool) {
	if len(head) < webpExtended || string(head[webpPreamble:webpPreamble+4]) != "VP8X" {
		return h, false
	}
	body := head[webpPreamble+8:]
	h.animated = body[0]&webpAnimated != 0
	h.width, h.height = uint24(body[4:])+1, uint24(body[7:])+1
	return h, true
}

// webpConfig reads the size, also of an animation.
func webpConfig(r io.Reader) (image.Config, error) {
	head := make([]byte, webpExtended)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return image.Config{}, err
	}
	if h, ok := parseWebPHeader(head[:n]); ok && h.animated {
		return image.Config{ColorModel: color.NYCbCrAModel, Width: h.width, Height: h.height}, nil
	}
	return webp.DecodeConfig(io.MultiReader(bytes.NewReader(head[:n]), r))
}

// decodeWebP decodes a picture, or the first frame of an animation, which [golang.org/x/image/webp] does not know: the
// frame's chunks are wrapped as a file of their own and laid on the animation's canvas.
func decodeWebP(r io.Reader) (image.Image, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	h, ok := parseWebPHeader(data)
	if !ok || !h.animated {
		picture, err := webp.Decode(bytes.NewReader(data))
		return toFullRange(picture), err
	}
	body, err := webpChunk(data[webpPreamble:], "ANMF")
	if err != nil {
		return nil, err
	}
	if len(body) < webpFrameStart {
		return nil, io.ErrUnexpectedEOF
	}
	at := image.Pt(2*uint24(body), 2*uint24(body[3:]))
	size := image.Pt(uint24(body[6:])+1, uint24(body[9:])+1)
	if at.X+size.X > h.width || at.Y+size.Y > h.height {
		return nil, errors.New("webp: the first frame is larger than the picture")
	}
	frame, err := webp.Decode(bytes.NewReader(webpFile(body[webpFrameStart:], size)))
	if err != nil {
		return nil, err
	}
	if frame.Bounds().Size() != size {
		return nil, errors.New("webp: the first frame has not the size it claims")
	}
	return onCanvas(moved{toFullRange(frame), at}, h.width, h.height), nil
}

// toFullRange repairs the colours of a lossy picture: WebP stores brightness from 16 to 235 and colour from 16 to 240
// (ITU-R BT.601), which [golang.org/x/image/webp] hands out as if they went from 0 to 255, so that white came out gray. It
// changes the picture in place.
func toFullRange(picture image.Image) image.Image {
	var p *image.YCbCr
	switch picture := picture.(type) {
	case *image.YCbCr:
		p = picture
	case *image.NYCbCrA:
		p = &picture.YCbCr
	default:
		return picture
	}
	for i, v := range p.Y {
		p.Y[i] = fullRangeY[v]
	}
	for i := range p.Cb {
		p.Cb[i] = fullRangeC[p.Cb[i]]
	}
	for i := range p.Cr {
		p.Cr[i] = fullRangeC[p.Cr[i]]
	}
	return picture
}

var fullRangeY, fullRangeC = func() (luma, chroma [256]uint8) {
	for v := range 256 {
		luma[v] = stretch(v-16, 219, 0)
		chroma[v] = stretch(v-128, 224, 128)
	}
	return luma, chroma
}()

// stretch maps a span of values to 255 of them.
func stretch(v, span, zero int) uint8 {
	scaled := 255 * float64(v) / float64(span)
	return uint8(min(max(int(math.Round(scaled))+zero, 0), 255))
}

// webpChunk returns the body of the first chunk of a kind.
func webpChunk(chunks []byte, kind string) ([]byte, error) {
	for len(chunks) >= 8 {
		length := int64(binary.LittleEndian.Uint32(chunks[4:]))
		if length > int64(len(chunks)-8) {
			return nil, io.ErrUnexpectedEOF
		}
		if string(chunks[:4]) == kind {
			return chunks[8 : 8+length], nil
		}
		chunks = chunks[min(int64(len(chunks)), 8+length+length&1):]
	}
	return nil, io.ErrUnexpectedEOF
}

// webpFile makes a still file of a frame's chunks.
func webpFile(chunks []byte, size image.Point) []byte {
	header := make([]byte, webpExtended)
	copy(header, "RIFF")
	binary.LittleEndian.PutUint32(header[4:], uint32(webpExtended-8+len(chunks)))
	copy(header[8:], "WEBPVP8X")
	binary.LittleEndian.PutUint32(header[16:], 10)
	if bytes.HasPrefix(chunks, []byte("ALPH")) {
		header[20] = webpAlpha
	}
	putUint24(header[24:], size.X-1)
	putUint24(header[27:], size.Y-1)
	return append(header, chunks...)
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func putUint24(b []byte, v int) { b[0], b[1], b[2] = byte(v), byte(v>>8), byte(v>>16) }
