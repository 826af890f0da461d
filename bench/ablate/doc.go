// Command ablate measures what the parts of a training recipe are worth: it trains an encoder for each row, a recipe that
// differs from another one in one thing, all with the same arithmetic to spend, and measures how well each groups images
// that were held back.
//
//	go run ./bench/ablate --data cifar10 --out DIR                 # all rows
//	go run ./bench/ablate --data cifar10 --out DIR --rows loss/    # those whose names begin so
//	go run ./bench/ablate --list
//	go run ./bench/ablate --out DIR --table                        # what was measured, in Markdown
//
// Of the training images of the data set, 5,000 drawn by a fixed shuffle are never trained on: they are the queries; the others
// are trained on and are the gallery. The test images are not touched. The arithmetic is counted in floating-point operations
// by the definition of the layers (see training.BareStep.FLOPs): a row gets as many steps as the reference's budget pays for.
//
// DIR gets, for each row, seed and budget, the run record that training wrote (NAME.jsonl) and NAME.json with the measures. A row
// that is there already is not run again, so an interrupted program goes on where it was.
package main
