// Package dataset reads images: CIFAR-10, folders, archives and the embedded sample.
package dataset
