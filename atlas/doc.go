// Package atlas shows which images lie together.
//
// [Sheet] draws contact sheets: rows of a query and its neighbours, each with captions, and a frame that tells whether
// its label is the query's. [SaveSheets] writes them as PNG files, over several pages where one would be too large.
// [Terminal] shows a small picture in a terminal that [Detect] found able to.
//
// [TSNE] lays the images out on a plane, like beside like, from lists of neighbours; [PrincipalStart] gives it the place to
// begin. [Place] lays new images onto a map without moving the others, and [Divergence] judges a map by the definition.
// [DrawMap], [DrawThumbnailMap], [WriteMapSVG] and [WriteMapPage] show it: as points coloured by label, as the images
// themselves, and as a page for the browser. docs/map.md has the methods and figures.
//
// [Align] measures how much two pictures differ when one is laid over the other, [GroupDuplicates] makes groups of those
// that differ little, [LabelOutliers] finds labels that disagree with the neighbours'.
//
// [FindGroups] finds groups in lists of neighbours, [DescribeGroups] tells what they are like, and [WriteGroupsPage] shows
// them on a page; [AdjustedRand], [MutualInformation] and [Purity] compare groups with others or with labels.
//
// Nothing here knows of collections or encoders: the pictures and texts come from the caller. The functions keep nothing
// that they are given and may be called from several goroutines at once.
package atlas
