// Command cleaning measures what imgsearch duplicates and imgsearch outliers rest on; docs/duplicates.md has the figures.
//
//	go run ./bench/cleaning pairs --data D --out FILE
//	go run ./bench/cleaning rank --index F --data D --pairs FILE
//	go run ./bench/cleaning noise --index F
//
// pairs finds the near-duplicates between the test and the training part of CIFAR-10 without an encoder: it compares
// every test image, shifted and mirrored, with every training image on 8x8 pixels, and verifies the nearest with
// [atlas.Align]. It prints how the differences are spread, and writes the pairs up to atlas.NearDuplicate.
//
// rank asks a collection of the training part for the neighbours of each test image of such pairs and tells at which rank
// the partner stands: a measure of an encoder that no label and no other encoder has part in.
//
// noise gives some images of a collection wrong labels and tells how many of them [atlas.Outliers] puts first.
package main
