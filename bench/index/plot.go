package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// The plot: speed, logarithmic, over the recall, in which each tenth of what is missed takes the same room.
const (
	plotWidth, plotHeight     = 760, 440
	plotLeft, plotRight       = 74, 150
	plotTop, plotBottom       = 34, 52
	firstMissed, finestMissed = 0.2, 0.0005
)

// colors are those of Okabe and Ito, which the colour-blind can tell apart.
var colors = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

// plot draws the curves as SVG.
func plot(title string, curves []*measured, answers int) []byte {
	low, high := math.Inf(1), 0.0
	for _, c := range curves {
		for _, p := range c.Curve {
			if 1-p.Recall <= firstMissed {
				low, high = min(low, p.QPS), max(high, p.QPS)
			}
		}
	}
	if high == 0 {
		low, high = 1, 10
	}
	low, high = math.Log10(low)-.05, math.Log10(high)+.05
	x := func(recall float64) float64 {
		m := min(firstMissed, max(finestMissed, missed(recall, answers)))
		t := (math.Log(firstMissed) - math.Log(m)) / (math.Log(firstMissed) - math.Log(finestMissed))
		return plotLeft + t*(plotWidth-plotLeft-plotRight)
	}
	y := func(qps float64) float64 {
		return plotTop + (high-math.Log10(qps))/(high-low)*(plotHeight-plotTop-plotBottom)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	text := func(x, y float64, anchor, color, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, anchor, color, html.EscapeString(s))
	}
	line := func(x1, y1, x2, y2 float64, color string) {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, color)
	}
	const bottom = plotHeight - plotBottom
	for _, recall := range []float64{.8, .9, .95, .98, .99, .995, .998, .999, .9995} {
		line(x(recall), plotTop, x(recall), bottom, "#dddddd")
		text(x(recall), bottom+18, "middle", "#333333", fmt.Sprint(recall))
	}
	for decade := math.Floor(low); decade <= high; decade++ {
		for _, step := range []float64{1, 2, 5} {
			qps := step * math.Pow(10, decade)
			if l := math.Log10(qps); l < low || l > high {
				continue
			}
			line(plotLeft, y(qps), plotWidth-plotRight, y(qps), "#dddddd")
			text(plotLeft-8, y(qps)+4, "end", "#333333", fmt.Sprintf("%.0f", qps))
		}
	}
	text(plotLeft, 20, "start", "#000000", title)
	text((plotLeft+plotWidth-plotRight)/2, plotHeight-14, "middle", "#000000", "recall@10")
	fmt.Fprintf(&b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">queries a second, one thread</text>`+"\n", (plotTop+bottom)/2)
	for i, c := range curves {
		color := colors[i%len(colors)]
		var path bytes.Buffer
		for _, p := range c.Curve {
			if 1-p.Recall > firstMissed {
				continue
			}
			fmt.Fprintf(&path, "%.1f,%.1f ", x(p.Recall), y(p.QPS))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(p.Recall), y(p.QPS), color)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", bytes.TrimSpace(path.Bytes()), color)
		at := float64(plotTop + 12 + 20*i)
		line(plotWidth-plotRight+14, at-4, plotWidth-plotRight+34, at-4, color)
		text(plotWidth-plotRight+40, at, "start", "#000000", c.Name)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
