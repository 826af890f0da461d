package dataset

import (
	"bytes"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"github.com/bep/imagemeta"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// format is a kind of image file that can be decoded.
type format struct {
	name string
	// matches tells by the first bytes of a file whether it has this format; it is given up to sniffLength of them.
	matches func(head []byte) bool
	// extensions are the endings of file names, in lower case, by which a folder's images are found.
	extensions []string
	// config reads size and colour model from the header.
	config func(io.Reader) (image.Config, error)
	// decode reads the picture, of several the first.
	decode func(io.Reader) (image.Image, error)
	// meta is where EXIF data is looked for; ImageFormatAuto where there is none.
	meta imagemeta.ImageFormat
}

const sniffLength = 16

var formats = []*format{
	{"JPEG", prefix("\xff\xd8\xff"), []string{".jpg", ".jpeg", ".jpe", ".jfif"}, jpeg.DecodeConfig, jpeg.Decode, imagemeta.JPEG},
	{"PNG", prefix("\x89PNG\r\n\x1a\n"), []string{".png", ".apng"}, png.DecodeConfig, png.Decode, imagemeta.PNG},
	{"GIF", prefix("GIF87a", "GIF89a"), []string{".gif"}, gif.DecodeConfig, decodeGIF, imagemeta.ImageFormatAuto},
	{"WebP", isWebP, []string{".webp"}, webpConfig, decodeWebP, imagemeta.WebP},
	{"BMP", prefix("BM"), []string{".bmp", ".dib"}, bmp.DecodeConfig, bmp.Decode, imagemeta.ImageFormatAuto},
	{"TIFF", prefix("II*\x00", "MM\x00*"), []string{".tif", ".tiff"}, tiff.DecodeConfig, tiff.Decode, imagemeta.TIFF},
}

// foreign are kinds of images that are known by their first bytes or names, but not decoded: they are reported, not
// passed over.
var foreign = []struct {
	name       string
	matches    func(head []byte) bool
	extensions []string
}{
	{"HEIC", isISOMedia("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"), []string{".heic", ".heif", ".hif"}},
	{"AVIF", isISOMedia("avif", "avis"), []string{".avif"}},
	{"JPEG XL", prefix("\xff\x0a", "\x00\x00\x00\x0cJXL \r\n\x87\n"), []string{".jxl"}},
	{"JPEG 2000", prefix("\x00\x00\x00\x0cjP  \r\n\x87\n", "\xff\x4f\xff\x51"), []string{".jp2", ".j2k"}},
	{"BigTIFF", prefix("II+\x00", "MM\x00+"), nil},
}

// formatOf recognises a file by its first bytes; nil means that it is no image that can be decoded.
func formatOf(head []byte) *format {
	for _, f := range formats {
		if f.matches(head) {
			return f
		}
	}
	return nil
}

// foreignName names the kind of an image that cannot be decoded, or gives "".
func foreignName(head []byte) string {
	for _, f := range foreign {
		if f.matches(head) {
			return f.name
		}
	}
	return ""
}

func prefix(magics ...string) func([]byte) bool {
	return func(head []byte) bool {
		for _, magic := range magics {
			if bytes.HasPrefix(head, []byte(magic)) {
				return true
			}
		}
		return false
	}
}

func isISOMedia(brands ...string) func([]byte) bool {
	return func(head []byte) bool {
		if len(head) < 12 || string(head[4:8]) != "ftyp" {
			return false
		}
		for _, brand := range brands {
			if string(head[8:12]) == brand {
				return true
			}
		}
		return false
	}
}

// decodeGIF decodes the first frame and gives it the size of the whole picture: a frame may cover a part only.
func decodeGIF(r io.Reader) (image.Image, error) {
	all, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	config, err := gif.DecodeConfig(bytes.NewReader(all))
	if err != nil {
		return nil, err
	}
	frame, err := gif.Decode(bytes.NewReader(all))
	if err != nil {
		return nil, err
	}
	return onCanvas(frame, config.Width, config.Height), nil
}
