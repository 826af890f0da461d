package store

import "errors"

var (
	// ErrNotExist is returned by [Open] where there is no file.
	ErrNotExist = errors.New("there is no such collection (make one with `imgsearch index`)")
	// ErrExists is returned by [Create] where there is a file already.
	ErrExists = errors.New("a file of this name exists already (add to it, choose another name, or delete it first)")
	// ErrNotCollection is returned by [Open] for a file that is no collection: empty, of another kind, or a bbolt file
	// of another program.
	ErrNotCollection = errors.New("not a collection file of imgsearch (make one with `imgsearch index`)")
	// ErrVersion is returned by [Open] for a collection of a format version that this program does not read.
	ErrVersion = errors.New("collection of another format version (use the imgsearch that wrote it, or index the images again)")
	// ErrCorrupt is returned wherever the file is not what was committed: bytes changed, the end is missing.
	ErrCorrupt = errors.New("collection file is damaged (restore a copy of it, or index the images again into a new file)")
	// ErrLocked is returned where another process stands in the way: by Open and Create for a second writer, by View
	// while a commit takes longer than [Options.Wait], by Apply while readers do.
	ErrLocked = errors.New("collection is in use by another process (wait until it has ended, then try again)")
	// ErrReadOnly is returned for a change to a collection that was opened for reading, or that may not be written.
	ErrReadOnly = errors.New("collection cannot be written (open it for writing; look at the permissions of the file and its folder)")
	// ErrNoSpace is returned for a change that the disk has no room for.
	ErrNoSpace = errors.New("disk is full (free some space and repeat the command: what was committed before is kept)")
	// ErrNotFound is returned for an id that the collection does not hold.
	ErrNotFound = errors.New("no image of this id in the collection")
	// ErrInvalid is returned by Create, Apply and PutGraph for arguments out of range; the message names the argument,
	// the value and the range.
	ErrInvalid = errors.New("unusable argument")
	// ErrClosed is returned by the methods of a closed Store.
	ErrClosed = errors.New("collection is closed")
)
