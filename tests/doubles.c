/* Arrays of doubles and central differences for the tests of the oracles; see doubles.h. */
#include "doubles.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

void expect_doubles(const char *what, size_t count, const double *got, const double *wanted,
                    double bound) {
    for (size_t i = 0; i < count; i++)
        if (!(fabs(got[i] - wanted[i]) <= bound))
            fail_msg("%s[%zu] is %.17g, not %.17g", what, i, got[i], wanted[i]);
}

void random_doubles(numbers *n, size_t count, double *x) {
    for (size_t i = 0; i < count; i++)
        x[i] = numbers_below(n, 2001) / 1000.0 - 1;
}

void pattern(size_t count, int times, int plus, int modulus, int less, double *x) {
    for (size_t i = 0; i < count; i++)
        x[i] = ((int)i * times + plus) % modulus - less;
}

double checksum(size_t count, const double *x) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += x[i] * (double)(i % 13 + 1);
    return sum;
}

double dot(size_t count, const double *a, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

void expect_differences(const char *what, scalar_function *f, const void *argument, size_t count,
                        double *x, const double *gradient, double bound) {
    const double h = 1e-5;
    for (size_t i = 0; i < count; i++) {
        double kept = x[i];
        x[i] = kept + h;
        double up = f(argument, x);
        x[i] = kept - h;
        double down = f(argument, x);
        x[i] = kept;
        double difference = (up - down) / (2 * h);
        if (!(fabs(difference - gradient[i]) <= bound))
            fail_msg("%s: difference %zu is %.12g, the gradient %.12g", what, i, difference,
                     gradient[i]);
    }
}
