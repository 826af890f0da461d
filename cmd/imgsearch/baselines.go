package main

import "strconv"

// baselines are the simpler features that a report puts beside a collection's own: the value of --baselines.
type baselines string

const (
	noBaselines    baselines = ""
	pixelBaselines baselines = "true"
	allBaselines   baselines = "all"
)

func (b *baselines) String() string { return string(*b) }

// Type lets the help show the flag like one that takes no value.
func (b *baselines) Type() string { return "bool" }

// Set takes what a flag without a value takes, or all.
func (b *baselines) Set(value string) error {
	if value == string(allBaselines) {
		*b = allBaselines
		return nil
	}
	on, err := strconv.ParseBool(value)
	switch {
	case err != nil:
		return err
	case on:
		*b = pixelBaselines
	default:
		*b = noBaselines
	}
	return nil
}
