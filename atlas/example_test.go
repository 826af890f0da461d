package atlas_test

import (
	"context"
	"fmt"
	"strings"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/index"
)

// A sheet of one query, whose first neighbour has its label and whose second has another.
func ExampleSheet() {
	picture := dataset.NewImage(32, 32)
	rows := []atlas.SheetRow{{
		Query: atlas.SheetCell{Image: picture, Caption: "cat"},
		Cells: []atlas.SheetCell{
			{Image: picture, Caption: "cat", Sub: "0.112", Frame: atlas.FrameMatch},
			{Image: picture, Caption: "dog", Sub: "0.145", Frame: atlas.FrameMismatch},
		},
	}}
	img, err := atlas.Sheet(rows, atlas.SheetOptions{Title: "Nearest neighbours"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(img.Bounds().Size())
	// Output: (384,240)
}

// Two red pixels above two blue ones become one line of a terminal.
func ExampleTerminal() {
	img := &dataset.Image{Width: 2, Height: 2, Pix: []uint8{255, 0, 0, 255, 0, 0, 0, 0, 255, 0, 0, 255}}
	getenv := func(name string) string { // os.Getenv, in a program
		return map[string]string{"TERM": "xterm-256color", "COLORTERM": "truecolor"}[name]
	}
	var b strings.Builder
	if err := atlas.Terminal(&b, img, 40, atlas.Detect(getenv)); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%q\n", b.String())
	// Output: "\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m▀▀\x1b[0m\n"
}

// Four images in two pairs: on the map, each lies beside its like.
func ExampleTSNE() {
	ids := []dataset.ID{10, 11, 12, 13}
	neighbors := [][]index.Neighbor{
		{{ID: 11, Distance: 0.1}, {ID: 12, Distance: 3}, {ID: 13, Distance: 3}},
		{{ID: 10, Distance: 0.1}, {ID: 12, Distance: 3}, {ID: 13, Distance: 3}},
		{{ID: 13, Distance: 0.1}, {ID: 10, Distance: 3}, {ID: 11, Distance: 3}},
		{{ID: 12, Distance: 0.1}, {ID: 10, Distance: 3}, {ID: 11, Distance: 3}},
	}
	m, err := atlas.TSNE(context.Background(), ids, neighbors, nil, atlas.MapOptions{Metric: index.L2, Iterations: 300})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(m.Positions), m.Iterations)
	// Output: 8 300
}
