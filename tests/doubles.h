/* What the tests of the oracles share: arrays of doubles, and central differences. Called by
 * tests/test_reference*.c. */
#ifndef FV_TESTS_DOUBLES_H
#define FV_TESTS_DOUBLES_H

#include "support.h"

/* Fails unless |got - wanted| <= bound for each value. */
void expect_doubles(const char *what, size_t count, const double *got, const double *wanted,
                    double bound);
void random_doubles(numbers *n, size_t count, double *x); /* thousandths from -1 to 1 */
/* Small whole numbers that a script can make too: (i times + plus) % modulus - less. */
void pattern(size_t count, int times, int plus, int modulus, int less, double *x);
/* The sum of x[i] (i % 13 + 1): differs for values at other places. */
double checksum(size_t count, const double *x);
double dot(size_t count, const double *a, const double *b);

/* A function of `x`, which is its argument too; the rest is in `argument`. */
typedef double scalar_function(const void *argument, const double *x);

/* Fails unless (f(x + h) - f(x - h)) / (2 h) is within `bound` of the gradient for each x[i], where
 * h is 1e-5. */
void expect_differences(const char *what, scalar_function *f, const void *argument, size_t count,
                        double *x, const double *gradient, double bound);

#endif
