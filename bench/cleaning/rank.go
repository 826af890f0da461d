package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"imgsearch/dataset"
	"imgsearch/search"
)

// ranks are the ranks that the report counts up to.
var ranks = []int{1, 10, 100}

// rank tells at which rank a collection of the training part has the partners of test images.
func rank(ctx context.Context, o options, stdout io.Writer) error {
	pairs, err := readPairs(o.pairs)
	if err != nil {
		return err
	}
	partners := map[int]map[int]bool{}
	var tests []int
	for _, p := range pairs {
		if partners[p.test] == nil {
			partners[p.test] = map[int]bool{}
			tests = append(tests, p.test)
		}
		partners[p.test][p.train] = true
	}
	ds, err := dataset.Open(ctx, o.data, dataset.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	position := map[int]int{} // of a test image in ds
	for i := range ds.Len() {
		if n, ok := positionIn(ds.Entry(i).Source, "test"); ok {
			position[n] = i
		}
	}
	c, err := search.Open(o.index, search.OpenOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer c.Close()
	found := make([]int, len(ranks))
	for _, test := range tests {
		i, ok := position[test]
		if !ok {
			return fmt.Errorf("%s has no test image %d: CIFAR-10 is needed", ds.Name(), test)
		}
		sample, err := ds.Read(ctx, i)
		if err != nil {
			return err
		}
		results, err := c.QueryImage(ctx, sample, search.QueryOptions{K: ranks[len(ranks)-1], Exact: true, IncludeSelf: true})
		if err != nil {
			return err
		}
		for _, r := range results {
			if n, ok := positionIn(r.Source, "train"); ok && partners[test][n] {
				for j, limit := range ranks {
					if r.Rank <= limit {
						found[j]++
					}
				}
				break
			}
		}
	}
	fmt.Fprintf(stdout, "%d test images with %d near-duplicates in the training part; the first of them stands\n", len(tests), len(pairs))
	for j, limit := range ranks {
		fmt.Fprintf(stdout, "at rank %-7s %.4f (%d)\n", upTo(limit), float64(found[j])/float64(len(tests)), found[j])
	}
	return nil
}

func upTo(rank int) string {
	if rank == 1 {
		return "1"
	}
	return "<= " + strconv.Itoa(rank)
}

// positionIn reads the position within a part of CIFAR-10 from a source such as cifar10:test/17.
func positionIn(source, part string) (int, bool) {
	number, ok := strings.CutPrefix(source, "cifar10:"+part+"/")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(number)
	return n, err == nil
}
