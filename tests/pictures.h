/* Small data sets made for tests: pictures whose class can be learnt. Needs files.h's folder. */
#ifndef FV_TESTS_PICTURES_H
#define FV_TESTS_PICTURES_H

/* Writes IDX files of one split ("train", "t10k", "val") into `folder`: `count` square pictures;
 * the class (0 to classes - 1) is the column band that is bright, on a noisy ground. */
void make_pictures(const char *folder, const char *split, int count, int size, int classes);

#endif
