// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * trace_malloc for `ig run --collect-ustack`: the same programs, with the maps
 * that ig looks for. ig's own headers have them anyway.
 */
#define GADGET_IG_MAPS

#include "program.bpf.c"

/*
 * ig's gadgets have this parameter since 0.52. Without a value it may be
 * declared once more where ig's headers have it. It changes nothing unless
 * the maps of ig's OpenTelemetry profiler are there.
 */
const volatile bool collect_otel_stack;
GADGET_PARAM(collect_otel_stack);
