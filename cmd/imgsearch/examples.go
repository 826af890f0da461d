package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"imgsearch/atlas"
	"imgsearch/dataset"
	"imgsearch/search"
)

// idPrefix begins the name of an example that is an indexed image.
const idPrefix = "id:"

// montageSide is the side in pixels of the picture that stands for several.
const montageSide = 96

// examples are the pictures that one name stands for.
type examples struct {
	all    []search.Example
	images []*dataset.Image
	labels []dataset.Label
}

// askExamples asks one question of all pictures of --like and --unlike.
func (a *asker) askExamples(ctx context.Context) error {
	if len(a.f.like) == 0 {
		return nil
	}
	var like, unlike examples
	for _, name := range a.f.like {
		if err := like.read(ctx, a.collection, name); err != nil {
			return err
		}
	}
	for _, name := range a.f.unlike {
		if err := unlike.read(ctx, a.collection, name); err != nil {
			return err
		}
	}
	neighbors, err := a.collection.QueryExamples(ctx, like.all, unlike.all, a.f.options())
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	name := strings.Join(a.f.like, " + ")
	for _, other := range a.f.unlike {
		name += " - " + other
	}
	q := question{name: name, image: atlas.Montage(like.images, unlike.images, montageSide)}
	q.entry.Source = count(len(like.all), "image") + " to be like"
	if len(unlike.all) > 0 {
		q.entry.Source = fmt.Sprintf("%s like, %s unlike", thousands(len(like.all)), thousands(len(unlike.all)))
	}
	q.entry.Label = like.labels[0]
	for _, label := range like.labels {
		if label != q.entry.Label {
			q.entry.Label = ""
			break
		}
	}
	a.asked++
	return a.print(ctx, q, answer{Query: name, Like: a.f.like, Unlike: a.f.unlike, Neighbors: neighbors})
}

// read adds the pictures of a name: an indexed image, a picture file, or all images of a data set.
func (e *examples) read(ctx context.Context, c *search.Collection, name string) error {
	if digits, ok := strings.CutPrefix(name, idPrefix); ok {
		id, err := strconv.ParseUint(digits, 10, 32)
		if err != nil {
			return usagef("%s: an indexed image is id: and its number, for example id:17", name)
		}
		record, err := c.Record(ctx, dataset.ID(id))
		if err != nil {
			return err
		}
		image, err := thumbnail(ctx, c, record.ID)
		e.add(search.Example{ID: record.ID}, image, record.Label)
		return err
	}
	ds, err := dataset.Open(ctx, name, dataset.Options{})
	if errors.Is(err, dataset.ErrNotFound) {
		err = fmt.Errorf("%s: there is no such picture: give a picture file, a folder, one image of a data set such as sample:test/17, or id:N", name)
	}
	if err != nil {
		return err
	}
	defer ds.Close()
	if problems := dataset.Problems(ds); len(problems) > 0 {
		return problems[0]
	}
	if ds.Len() == 0 {
		return fmt.Errorf("%s has no images: name pictures", name)
	}
	return dataset.Each(ctx, ds, 0, func(i int, sample dataset.Sample, err error) error {
		if err == nil {
			entry := ds.Entry(i)
			e.add(search.Example{Sample: &sample, Source: filepath.Clean(entry.Source)}, sample.Image, entry.Label)
		}
		return err
	})
}

func (e *examples) add(example search.Example, image *dataset.Image, label dataset.Label) {
	e.all = append(e.all, example)
	e.images = append(e.images, image)
	e.labels = append(e.labels, label)
}
