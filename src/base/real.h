/* The number type of all arithmetic. The library is compiled with float; the gradient checker
 * (fovea check) compiles the same sources with double, where central differences are exact
 * enough to tell a wrong gradient from rounding. */
#ifndef FV_BASE_REAL_H
#define FV_BASE_REAL_H

#ifdef FV_DOUBLE
typedef double real;
#else
typedef float real;
#endif

#endif
