// Package training makes encoders from images without labels.
//
// [Run] takes [Options] and returns a [Result]; [PresetByName] has ready recipes. Each step of a run goes through parts that
// know little of one another:
//
//   - the sampler says which images are the step's anchors (shuffled epochs without replacement) and, where the loss
//     wants them, which other images are explicit negatives;
//   - views make the copies of an image that shall come to lie together: see [ViewOptions], and for more than two of them,
//     small crops and a size that grows during the run [MultiViewOptions] and [SizeOptions];
//   - the graph, built by gorgonia from an [embedder.Architecture], makes embeddings of anchors, positives and
//     negatives;
//   - the miner picks triplets and the loss scores them: see [LossOptions]; or else one view is compared with what an
//     averaged net, or the net as it is, makes of the other, or with a neighbour of that: see [TargetOptions];
//   - the solver changes the weights, at a rate that the [Schedule] gives: see [OptimizerOptions];
//   - where it is asked for, the weights are averaged over the steps ([AverageOptions]), and a run whose loss on
//     held-back images falls no more is brought to an early end ([StopOptions]);
//   - after the last step the finish computes what the encoder gets without training: see [FinishOptions].
//
// Views are made beside the arithmetic, one batch ahead, in the pauses that it leaves; what is missing when a step wants
// its batch is made on all processors.
//
// # What is guaranteed
//
// Everything random is a pure function of the seed, the step and the row. On one machine and with one kind of arithmetic
// (see kernel.Name), equal options, seed and images give equal weights bit for bit, whatever the number of threads, and
// however often the run was interrupted, killed and resumed. A budget of minutes becomes a number of steps when
// training starts, by measuring; from then on it is fixed too. What [StopOptions] measures and decides is counted in steps.
//
// Labels have no influence on weights, nor on when a run ends. They serve the purity of held-back images that [Progress] shows.
//
// # Files
//
// The encoder file is written once, at the end. Until then Out + ".checkpoint" holds the state of the run: written to a
// temporary file, synced, renamed, with a version and a checksum. Out + ".jsonl" is the run record, one JSON object a
// line: "start" (options, data set, machine), "step" (means over the steps since the line before), "held_back",
// "warning", "interrupted", "resume", "stop", "end". A resume cuts off what was recorded after its checkpoint.
//
// Decoded images that take more memory than [CorpusOptions] allow lie in Out + ".images" while the run lasts. A killed run
// leaves that file; the next one of the same Out replaces it.
//
// Two runs must not write to the same Out at the same time; nothing prevents it.
//
// gorgonia is this package's alone: none of its types appears in an exported signature.
package training
