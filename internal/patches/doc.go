// Package patches makes features of images without back-propagation: from k-means, sparse codes, an eigenproblem and
// sums. They are baselines for what an encoder learns, and could teach one.
//
// [Fit] learns from images without labels and gives [Features], whose Extract turns images into features;
// [FitCompact] reduces these to principal components. Features are compared by the cosine.
//
// # What happens to an image
//
// Patches of 6x6 pixels are cut at a stride. Each loses its mean and is divided by its contrast, then all are whitened
// by the symmetric root ("ZCA") that was fitted on patches of many images. The dictionary is what k-means makes of such
// patches. Two methods go on from there:
//
//   - [Dictionary]: every atom of the dictionary is a value of a patch, and the values are summed over the four quarters
//     of the image (Coates, Ng & Lee 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning",
//     AISTATS). Their code is [Triangle].
//   - [Manifold]: the sparse manifold transform (Chen, Yun, Ma, Olshausen & LeCun 2022, arXiv 2209.15261). A patch is
//     described by the atoms whose cosine to it is above a threshold. Linear combinations of such codes are sought in
//     which patches of the same image lie close together while all patches vary as much in one direction as in any other.
//     That is a generalised eigenproblem of two [Atoms, Atoms] matrices, which are sums over the patches of all images. A
//     patch's place in these directions, scaled to length one, is averaged over a 4x4 grid.
//
// Both then lose the mean of the images fitted on; those of the dictionary are also divided by their standard deviation.
//
// Deviations from the sources: the dictionary of the manifold transform is from spherical k-means, not random patches
// far enough from each other; codes sum to one; a patch that no atom is near enough to is described by its nearest
// one; the co-occurrence of patches is that of one image's mean code with itself.
//
// # Guarantees
//
// Nothing given is changed or kept. Features depend on images, options and the machine's arithmetic (see package
// kernel), not on the number of threads, and those of one image not on the others in the same call. Fitting the
// manifold takes memory for four matrices of Atoms x Atoms.
package patches
