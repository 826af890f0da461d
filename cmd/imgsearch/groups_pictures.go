package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/search"
)

const (
	// pageImages is how many pictures of groups a page has in all, each group fewestOnPage to mostOnPage.
	pageImages   = 1600
	fewestOnPage = 5
	mostOnPage   = 33
	// lonelyImages is how many of the images that fit nowhere are shown.
	lonelyImages = 60
	// A sheet of one group has sheetImages pictures beside the medoid; a row of the sheet of all groups has rowImages.
	sheetImages  = 59
	sheetColumns = 12
	rowImages    = 11
)

// outwards picks at most n of the members of a group: the medoid, and others from it to the farthest, evenly.
func outwards(members []search.GroupMember, n int) []search.GroupMember {
	if len(members) <= n {
		return members
	}
	out := []search.GroupMember{members[0]}
	for i := 1; i < n; i++ {
		out = append(out, members[1+(i-1)*(len(members)-2)/max(n-2, 1)])
	}
	return out
}

// writePage makes the HTML file.
func (f groupsFlags) writePage(ctx context.Context, s *streams, c *search.Collection, r *search.GroupReport) error {
	page := atlas.GroupsPage{Title: "Groups of " + filepath.Base(f.index), NowhereCount: len(r.Nowhere)}
	page.Facts = []string{fmt.Sprintf("%s of %s; %s in none", count(len(r.Groups), "group"), count(r.Images, "image"), thousands(len(r.Nowhere)))}
	if len(r.Groups) > 0 {
		page.Facts = append(page.Facts, strings.Join(groupFacts(r), " · "))
	}
	read := func(id dataset.ID, distance float32) (atlas.PageImage, error) {
		record, err := c.Record(ctx, id)
		if err != nil {
			return atlas.PageImage{}, err
		}
		image, err := thumbnail(ctx, c, id)
		return atlas.PageImage{Image: image, ID: id, Source: record.Source, Label: string(record.Label), Distance: distance}, err
	}
	shown := r.Groups[:min(len(r.Groups), f.limit)]
	for _, g := range r.Groups[len(shown):] {
		page.Left++
		page.LeftImages += g.Size
	}
	each := min(max(pageImages/max(len(shown), 1), fewestOnPage), mostOnPage)
	for _, g := range shown {
		out := atlas.PageGroup{Number: g.Group, Size: g.Size, Tightness: g.Tightness}
		for _, l := range g.Labels {
			out.Labels = append(out.Labels, atlas.PageLabel{Label: string(l.Label), Count: l.Count})
		}
		for _, n := range g.Nearest {
			out.Nearest = append(out.Nearest, atlas.NearGroup{Group: n.Group, Distance: n.Distance})
		}
		for _, m := range outwards(g.Members, each) {
			image, err := read(m.ID, m.Distance)
			if err != nil {
				return err
			}
			out.Images = append(out.Images, image)
		}
		page.Groups = append(page.Groups, out)
	}
	for _, l := range r.Nowhere[:min(len(r.Nowhere), lonelyImages)] {
		image, err := read(l.ID, l.Distance)
		if err != nil {
			return err
		}
		page.Nowhere = append(page.Nowhere, image)
	}
	err := atlas.WriteFile(f.out, func(w io.Writer) error { return atlas.WriteGroupsPage(w, page) })
	if err == nil {
		fmt.Fprintf(s.err, "wrote %s\n", f.out)
	}
	return err
}

// writeSheets makes the folder of PNG files.
func (f groupsFlags) writeSheets(ctx context.Context, s *streams, c *search.Collection, r *search.GroupReport) error {
	if err := os.Mkdir(f.out, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return checkedPath(f.out, err)
	}
	old, err := f.oldSheets()
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	written := 0
	save := func(name string, rows []atlas.SheetRow, options atlas.SheetOptions) error {
		if len(rows) == 0 {
			return nil
		}
		options.MatchText, options.MismatchText, options.Unranked = "the group's commonest label", "another label", true
		paths, err := atlas.SaveSheets(ctx, filepath.Join(f.out, name), rows, options)
		written += len(paths)
		return err
	}
	shown := r.Groups[:min(len(r.Groups), f.limit)]
	var all []atlas.SheetRow
	for _, g := range shown {
		row, err := groupRow(ctx, c, g, rowImages)
		if err != nil {
			return err
		}
		row.Query.Caption, row.Query.Sub = "Group "+strconv.Itoa(g.Group), count(g.Size, "image")
		all = append(all, row)
	}
	title := fmt.Sprintf("%s of %s", count(len(r.Groups), "group"), count(r.Images, "image"))
	if len(shown) < len(r.Groups) {
		title = fmt.Sprintf("The %s largest of %s", thousands(len(shown)), title)
	}
	err = save("groups.png", all, atlas.SheetOptions{Title: title, Subtitle: f.index + " · medoids, and members from the nearest to the farthest", Columns: rowImages})
	if err != nil {
		return err
	}
	digits := len(strconv.Itoa(len(shown)))
	for _, g := range shown {
		row, err := groupRow(ctx, c, g, sheetImages)
		if err != nil {
			return err
		}
		err = save(fmt.Sprintf("group-%0*d.png", digits, g.Group), []atlas.SheetRow{row}, atlas.SheetOptions{
			Title: fmt.Sprintf("Group %d · %s", g.Group, count(g.Size, "image")), Subtitle: groupLine(g), Columns: sheetColumns,
		})
		if err != nil {
			return err
		}
	}
	if len(r.Nowhere) > 0 {
		var rows []atlas.SheetRow
		for _, l := range r.Nowhere[:min(len(r.Nowhere), lonelyImages)] {
			cell, err := groupCell(ctx, c, l.ID, l.Distance, "")
			if err != nil {
				return err
			}
			rows = append(rows, atlas.SheetRow{Query: cell})
		}
		err = save("nowhere.png", rows, atlas.SheetOptions{
			Title:    "Images that fit nowhere",
			Subtitle: fmt.Sprintf("%s, the loneliest first, with the distance to the nearest", count(len(r.Nowhere), "image")), Across: sheetColumns,
		})
		if err != nil {
			return err
		}
	}
	if written > 0 {
		fmt.Fprintf(s.err, "wrote %s to %s\n", count(written, "sheet"), f.out)
	}
	return nil
}

// groupLine describes a group in one line.
func groupLine(g search.Group) string {
	line := fmt.Sprintf("tightness %.2f", g.Tightness)
	if mix := labelMix(g, 4); mix != "" {
		line = mix + " · " + line
	}
	var near []string
	for _, n := range g.Nearest {
		near = append(near, strconv.Itoa(n.Group))
	}
	if len(near) > 0 {
		line += " · nearest groups " + strings.Join(near, ", ")
	}
	return line
}

// groupRow shows the medoid of a group and at most n other members.
func groupRow(ctx context.Context, c *search.Collection, g search.Group, n int) (atlas.SheetRow, error) {
	commonest := dataset.Label("")
	if len(g.Labels) > 1 {
		commonest = g.Labels[0].Label
	}
	var row atlas.SheetRow
	for i, m := range outwards(g.Members, n+1) {
		cell, err := groupCell(ctx, c, m.ID, m.Distance, commonest)
		if err != nil {
			return row, err
		}
		if i == 0 {
			cell.Sub = "medoid  #" + strconv.Itoa(int(m.ID))
			row.Query = cell
		} else {
			row.Cells = append(row.Cells, cell)
		}
	}
	return row, nil
}

// groupCell shows an image with a distance, framed by whether its label is the commonest, where there are several.
func groupCell(ctx context.Context, c *search.Collection, id dataset.ID, distance float32, commonest dataset.Label) (atlas.SheetCell, error) {
	record, err := c.Record(ctx, id)
	if err != nil {
		return atlas.SheetCell{}, err
	}
	image, err := thumbnail(ctx, c, id)
	return atlas.SheetCell{
		Image: image, Caption: caption(record.Label, record.Source), Sub: fmt.Sprintf("%.3f  #%d", distance, id),
		Frame: frame(commonest, record.Label),
	}, err
}
