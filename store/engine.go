package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// This file is where bbolt writes. Reading is in pages.go.

// pageSize is that of new files, whatever the machine's: a file moves between machines.
const pageSize = 4096

// fill is how full bbolt makes its pages: values are mostly appended.
const fill = 0.95

// growth is by how much a file above it grows at once, in bytes.
const growth = 1 << 20

// change is one commit.
type change struct {
	puts map[string]map[uint32][]byte // array -> number -> value; nil deletes
	drop []string                     // arrays to delete
	// directories by array, and the header, each a value
	directories map[string][]byte
	header      []byte
}

// errBusy says that the lock of bbolt's file is taken.
var errBusy = errors.New("file is locked")

// commitFile applies a change to the bbolt file at path. open opens it; before runs once the file is locked. It does not
// wait for the lock: errBusy.
//
// What bbolt throws in the face of a damaged file is caught here, and the file's lock does not stay behind.
func commitFile(path string, open func() (*os.File, error), before func() error, c change) (err error) {
	var file *os.File
	var db *bolt.DB
	faults := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(faults)
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, r)
			if file != nil {
				_ = file.Close() // gives the lock back; bbolt may be in no state to do it
			}
		}
	}()
	db, err = bolt.Open(path, 0o666, &bolt.Options{
		Timeout:      time.Nanosecond,
		PageSize:     pageSize,
		NoStatistics: true,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) {
			f, err := open()
			file = f
			return f, err
		},
	})
	if err != nil {
		if errors.Is(err, berrors.ErrTimeout) {
			return errBusy
		}
		return err
	}
	db.AllocSize = growth
	if before != nil {
		if err := before(); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	err = db.Update(c.write)
	return errors.Join(err, db.Close())
}

func (c change) write(tx *bolt.Tx) error {
	for _, name := range c.drop {
		if err := tx.DeleteBucket([]byte(name)); err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.puts)) {
		b, err := tx.CreateBucketIfNotExists([]byte(name))
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		b.FillPercent = fill
		for _, n := range slices.Sorted(maps.Keys(c.puts[name])) {
			var err error
			if value := c.puts[name][n]; value != nil {
				err = b.Put(valueKey(n), value)
			} else {
				err = b.Delete(valueKey(n))
			}
			if err != nil {
				return fmt.Errorf("write value %d of %s: %w", n, name, err)
			}
		}
	}
	directories, err := tx.CreateBucketIfNotExists([]byte(directoryBucket))
	if err != nil {
		return fmt.Errorf("write the directory: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(c.directories)) {
		if err := directories.Put([]byte(name), c.directories[name]); err != nil {
			return fmt.Errorf("write the directory of %s: %w", name, err)
		}
	}
	for _, name := range c.drop {
		if err := directories.Delete([]byte(name)); err != nil {
			return fmt.Errorf("delete the directory of %s: %w", name, err)
		}
	}
	top, err := tx.CreateBucketIfNotExists([]byte(headerBucket))
	if err != nil {
		return fmt.Errorf("write the header: %w", err)
	}
	if err := top.Put([]byte(headerKey), c.header); err != nil {
		return fmt.Errorf("write the header: %w", err)
	}
	return nil
}
