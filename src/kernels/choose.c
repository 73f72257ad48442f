/* Picks the kernels of this machine, by CPUID or FOVEA_ISA. Called where sessions and trainers
 * are made. */
#include "base/status.h"
#include "kernels/kernels.h"
#include <stdlib.h>
#include <string.h>

#if defined(FV_DOUBLE) && defined(__x86_64__)
extern const fv_kernels fv_kernels_v2;
#elif defined(__x86_64__)
extern const fv_kernels fv_kernels_generic, fv_kernels_v2, fv_kernels_v3, fv_kernels_v4;
#else
extern const fv_kernels fv_kernels_generic;
#endif

/* Single features, since not every compiler knows the levels by name. The builtins also check that
 * the system saves the wide registers. */
static const fv_kernels *const *available(void) {
#if defined(FV_DOUBLE) && defined(__x86_64__)
    static const fv_kernels *const all[] = {&fv_kernels_v2, NULL};
    return all;
#elif defined(__x86_64__)
    static const fv_kernels *const all[] = {&fv_kernels_v4, &fv_kernels_v3, &fv_kernels_v2,
                                            &fv_kernels_generic, NULL};
    __builtin_cpu_init();
    bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return all + (v4 ? 0 : v3 ? 1 : v2 ? 2 : 3);
#else
    static const fv_kernels *const all[] = {&fv_kernels_generic, NULL};
    return all;
#endif
}

const fv_kernels *fv_kernels_by_name(const char *name) {
    for (const fv_kernels *const *k = available(); *k; k++)
        if (strcmp((*k)->name, name) == 0)
            return *k;
    return NULL;
}

const fv_kernels *fv_kernels_get(void) {
    const char *wanted = getenv("FOVEA_ISA");
    if (!wanted || !*wanted || available()[1] == NULL)
        return available()[0];
    const fv_kernels *kernels = fv_kernels_by_name(wanted);
    if (!kernels)
        fv_fail(FV_INVALID,
                "FOVEA_ISA=%s: this processor or build has no such kernels; the best here is %s "
                "(unset FOVEA_ISA to use it)",
                wanted, available()[0]->name);
    return kernels;
}

const char *fv_instruction_set(void) {
    const fv_kernels *kernels = fv_kernels_get();
    return kernels ? kernels->name : NULL;
}
