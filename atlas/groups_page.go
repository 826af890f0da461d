package atlas

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image/jpeg"
	"io"
	"slices"
	"strings"
	"sync"

	"imgsearch/dataset"
	"imgsearch/internal/kernel"
)

// GroupsPage is what the page of groups shows. All texts may be in any script.
type GroupsPage struct {
	// Title heads the page; Facts are lines below it.
	Title string
	Facts []string
	// Groups come in the order given. More of them than are shown are told by Left, their number, and LeftImages.
	Groups           []PageGroup
	Left, LeftImages int
	// Nowhere are images that fit nowhere, of NowhereCount.
	Nowhere      []PageImage
	NowhereCount int
}

// PageGroup is one group on the page.
type PageGroup struct {
	// Number names the group; groups count from 1.
	Number int
	// Size is the number of images of the group.
	Size int
	// Tightness is that of GroupSummary.
	Tightness float64
	// Labels are the labels of the group, commonest first; none where there are no labels.
	Labels []PageLabel
	// Images are the medoid and some of the other images; at least the medoid.
	Images []PageImage
	// Nearest are the numbers and distances of other groups; those that are not on the page are not shown.
	Nearest []NearGroup
}

// PageLabel is a label and the number of images that have it.
type PageLabel struct {
	Label string
	Count int
}

// PageImage is an image on the page.
type PageImage struct {
	// Image is drawn at most pageThumbnail pixels large; nil is drawn as an empty box.
	Image         *dataset.Image
	ID            dataset.ID
	Source, Label string
	// Distance is that to the medoid or, of an image that fits nowhere, to its nearest neighbour.
	Distance float32
}

const (
	// pageThumbnail is the longest side of the pictures on a page, in pixels. Those of at most sharpPixels are kept
	// without loss.
	pageThumbnail = 96
	sharpPixels   = 48 * 48
	pageQuality   = 80
	// mixLabels is how many labels of a group's mix are named and have a part of its bar of their own.
	mixLabels = 6
	// colours is the number of colours that labels can have: the commonest of the page do.
	colours = 10
)

//go:embed groups.html
var groupsTemplate string

var parsedGroups = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("groups").Funcs(template.FuncMap{
		"thousands": thousands,
	}).Parse(groupsTemplate))
})

// WriteGroupsPage writes a page of groups: one HTML file that needs nothing else, for light and dark screens, with the
// mix of labels, some images and the nearest other groups of each group. Labels that occur can be chosen, images that are
// shown looked for. A page of 2,000 images of 32 pixels takes some 7 MB.
func WriteGroupsPage(w io.Writer, page GroupsPage) error {
	d := groupsData{GroupsPage: page}
	d.count()
	shown := make(map[int]bool, len(page.Groups))
	for _, g := range page.Groups {
		shown[g.Number] = true
	}
	d.Shown = make([]shownGroup, len(page.Groups))
	errs := make([]error, len(page.Groups)+1)
	kernel.Parallel(0, len(page.Groups)+1, func(i int) {
		if i == len(page.Groups) {
			d.ShownNowhere, errs[i] = showImages(page.Nowhere)
			return
		}
		d.Shown[i], errs[i] = d.show(page.Groups[i], shown)
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return parsedGroups().Execute(w, d)
}

// groupsData is what the template sees.
type groupsData struct {
	GroupsPage
	Labels       []PageLabel
	Shown        []shownGroup
	ShownNowhere []shownImage
	colour       map[string]int
}

type shownGroup struct {
	PageGroup
	Medoid  shownImage
	Rest    []shownImage
	Mix     []mixPart
	More    int // labels that have no part of their own
	Near    []NearGroup
	Purity  float64
	Tight   string
	Picture template.CSS
}

type shownImage struct {
	PageImage
	Data  template.URL
	Sharp bool
	Far   string
}

// mixPart is a part of the bar that shows a mix of labels.
type mixPart struct {
	Label   string
	Count   int
	Percent string
	Width   template.CSS
	Colour  int
}

// count adds up the labels and gives the commonest a colour.
func (d *groupsData) count() {
	counts := map[string]int{}
	for _, g := range d.Groups {
		for _, l := range g.Labels {
			counts[l.Label] += l.Count
		}
	}
	for label, n := range counts {
		d.Labels = append(d.Labels, PageLabel{label, n})
	}
	slices.SortFunc(d.Labels, func(a, b PageLabel) int { return strings.Compare(a.Label, b.Label) })
	byCount := slices.Clone(d.Labels)
	slices.SortStableFunc(byCount, func(a, b PageLabel) int { return b.Count - a.Count })
	d.colour = map[string]int{}
	for i, l := range byCount[:min(len(byCount), colours)] {
		d.colour[l.Label] = i + 1
	}
}

func (d *groupsData) show(g PageGroup, shown map[int]bool) (shownGroup, error) {
	s := shownGroup{PageGroup: g, Tight: fmt.Sprintf("%.2f", g.Tightness)}
	images, err := showImages(g.Images)
	if err != nil {
		return s, err
	}
	if len(images) == 0 {
		images = []shownImage{{}}
	}
	s.Medoid, s.Rest = images[0], images[1:]
	if s.Medoid.Data != "" {
		s.Picture = template.CSS("url(" + string(s.Medoid.Data) + ")")
	} else {
		s.Picture = "none"
	}
	labelled := 0
	for _, l := range g.Labels {
		labelled += l.Count
	}
	rest := labelled
	part := func(label string, n, colour int) mixPart {
		share := 100 * float64(n) / float64(labelled)
		return mixPart{label, n, percent(share), template.CSS(fmt.Sprintf("%.3f%%", share)), colour}
	}
	named := min(len(g.Labels), mixLabels)
	for _, l := range g.Labels[:named] {
		s.Mix = append(s.Mix, part(l.Label, l.Count, d.colour[l.Label]))
		rest -= l.Count
	}
	if s.More = len(g.Labels) - named; s.More > 0 {
		s.Mix = append(s.Mix, part(fmt.Sprintf("%s more", thousands(s.More)), rest, 0))
	}
	if labelled > 0 {
		s.Purity = float64(g.Labels[0].Count) / float64(labelled)
	}
	for _, near := range g.Nearest {
		if shown[near.Group] {
			s.Near = append(s.Near, near)
		}
	}
	return s, nil
}

// percent renders a share of more than nothing.
func percent(share float64) string {
	if share < 0.5 {
		return "< 1 %"
	}
	return fmt.Sprintf("%.0f %%", share)
}

func showImages(images []PageImage) ([]shownImage, error) {
	out := make([]shownImage, len(images))
	for i, image := range images {
		data, sharp, err := dataURL(image.Image)
		if err != nil {
			return nil, err
		}
		out[i] = shownImage{image, data, sharp, fmt.Sprintf("%.3f", image.Distance)}
		out[i].Image = nil
	}
	return out, nil
}

// dataURL holds a picture in an address, without loss where it is small; sharp says so.
func dataURL(m *dataset.Image) (data template.URL, sharp bool, err error) {
	if m == nil || m.Width <= 0 || m.Height <= 0 {
		return "", false, nil
	}
	m = m.Fit(pageThumbnail)
	var b bytes.Buffer
	kind := "png"
	if sharp = m.Width*m.Height <= sharpPixels; sharp {
		err = WritePNG(&b, m.RGBA())
	} else {
		kind = "jpeg"
		err = jpeg.Encode(&b, m.RGBA(), &jpeg.Options{Quality: pageQuality})
	}
	return template.URL("data:image/" + kind + ";base64," + base64.StdEncoding.EncodeToString(b.Bytes())), sharp, err
}

// thousands renders a number with commas between groups of three digits.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
