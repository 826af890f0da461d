// Package evaluation measures how well embeddings, and the index that holds them, answer.
//
// Everything works on plain arrays: a [Set] holds embeddings with their ids and labels. [Evaluate] asks for the
// neighbours of every query in the gallery and gives a [Report]:
//
//   - purity@k: the mean share of a query's k nearest neighbours that carry the query's label, the query itself left
//     out; for all queries and for each class.
//   - kNN accuracy: the share of queries whose label wins a vote of their 200 nearest neighbours, each vote weighing
//     exp(cos/0.1) (Wu et al. 2018, arXiv 1805.01978, section 3.4).
//   - the class matrix: for the queries of each class, how their neighbours' labels are spread.
//   - ANN recall@k of an index: the share of the exact k nearest that it returned.
//
// Where [Options].Index is set, purity, accuracy and matrix tell what that index answers; otherwise exact search
// answers. Each measure comes with a bootstrap confidence interval over the queries and beside the level of chance.
// [WriteText] renders a report for people; its JSON form has stable names.
//
// [Nearest] is the exact search underneath, block by block over matrix products. [Pixels], [PCA] and [AddBaseline] give
// what an encoder has to beat: the pixels themselves and their principal components.
//
// Results depend on the input, the options and the machine's arithmetic (see package kernel), never on the number of
// threads or on timing. Nothing given to a function of this package is changed or kept after it returns, except the
// images' bytes copied by [Pixels.Set].
package evaluation
