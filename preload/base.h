/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library needs of the compiler, the kernel and the C library.
 *
 * No header of a C library is used, and none is linked against: one file then
 * serves glibc of every version and musl, and compiles for either architecture
 * anywhere. What is declared here is found in the process, at run time.
 */
#ifndef PRELOAD_BASE_H
#define PRELOAD_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORTED __attribute__((visibility("default")))
#define WEAK __attribute__((weak))
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

/* Relaxed unless an order is said: most words here are counters or hints. */
#define READ(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define READ_ACQUIRE(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define WRITE(place, value) __atomic_store_n(&(place), value, __ATOMIC_RELAXED)
#define WRITE_RELEASE(place, value) \
	__atomic_store_n(&(place), value, __ATOMIC_RELEASE)
#define ADD(place, value) __atomic_fetch_add(&(place), value, __ATOMIC_RELAXED)

ALWAYS_INLINE bool swap_if(uint64_t *place, uint64_t *expected, uint64_t value)
{
	return __atomic_compare_exchange_n(place, expected, value, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Mixes `word` into `hash`. */
ALWAYS_INLINE uint64_t mixed(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0xff51afd7ed558ccdULL;
	return hash ^ hash >> 32;
}

/* Of the C library. */
#define CLOCK_MONOTONIC 1
#define CLOCK_BOOTTIME 7
#define AT_PAGESZ 6
#define AT_RANDOM 25
#define AT_EXECFN 31

struct timespec {
	int64_t tv_sec;
	int64_t tv_nsec;
};

int clock_gettime(int clock, struct timespec *time);
unsigned long getauxval(unsigned long type);
int *__errno_location(void);
extern char **__environ;

/* Made by the compiler even where nobody calls them. */
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *left, const void *right, size_t size);
size_t strlen(const char *text);

/* Of glibc since 2.35: the object that maps an address, without a lock. */
struct dl_find_object {
	unsigned long long flags;
	void *map_start;
	void *map_end;
	void *link_map;
	void *eh_frame;
	unsigned long long reserved[7];
};
WEAK int _dl_find_object(void *address, struct dl_find_object *found);

struct dl_phdr_info {
	uintptr_t address;
	const char *name;
	const void *headers;
	uint16_t n_headers;
	unsigned long long n_added;
	unsigned long long n_removed;
};
int dl_iterate_phdr(int (*take)(struct dl_phdr_info *, size_t, void *),
		    void *data);

/* How to be told of fork(): the first is glibc's, the second musl's. */
WEAK int __register_atfork(void (*prepare)(void), void (*parent)(void),
			   void (*child)(void), void *object);
WEAK int pthread_atfork(void (*prepare)(void), void (*parent)(void),
			void (*child)(void));

/* Of the kernel. */
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_SHARED 1
#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 0x20
#define MAP_NORESERVE 0x4000
#define MAP_FAILED ((void *)-1L)
#define MREMAP_DONTUNMAP 4
#define MADV_WIPEONFORK 18
#define O_RDONLY 0
#define O_RDWR 2
#define O_CLOEXEC 02000000
#define AT_FDCWD (-100)
#define EFAULT 14
#define PR_GET_NAME 16
#define PR_SET_SECCOMP 22
#define SECCOMP_MODE_STRICT 1
#define MAX_ERRNO 4095

#if defined(__x86_64__)
enum {
	NR_READ = 0,
	NR_CLOSE = 3,
	NR_LSEEK = 8,
	NR_MMAP = 9,
	NR_MUNMAP = 11,
	NR_RT_SIGPROCMASK = 14,
	NR_MADVISE = 28,
	NR_NANOSLEEP = 35,
	NR_GETPID = 39,
	NR_GETPPID = 110,
	NR_PRCTL = 157,
	NR_GETTID = 186,
	NR_OPENAT = 257,
};

ALWAYS_INLINE long system_call(long number, long a, long b, long c, long d,
			       long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10),
			   "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

ALWAYS_INLINE void pause_briefly(void)
{
	__builtin_ia32_pause();
}
#elif defined(__aarch64__)
enum {
	NR_OPENAT = 56,
	NR_CLOSE = 57,
	NR_LSEEK = 62,
	NR_READ = 63,
	NR_NANOSLEEP = 101,
	NR_RT_SIGPROCMASK = 135,
	NR_PRCTL = 167,
	NR_GETPID = 172,
	NR_GETPPID = 173,
	NR_GETTID = 178,
	NR_MUNMAP = 215,
	NR_MMAP = 222,
	NR_MADVISE = 233,
};

ALWAYS_INLINE long system_call(long number, long a, long b, long c, long d,
			       long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}

ALWAYS_INLINE void pause_briefly(void)
{
	__asm__ volatile("yield");
}
#else
#error "only x86-64 and arm64 are known"
#endif

#define SYSTEM_CALL_6(number, a, b, c, d, e, f, ...)                    \
	system_call(number, (long)(a), (long)(b), (long)(c), (long)(d), \
		    (long)(e), (long)(f))
/* As syscall(2), but the error is returned, negative, and errno left alone. */
#define SYSTEM_CALL(...) SYSTEM_CALL_6(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

ALWAYS_INLINE bool is_error(long result)
{
	return (unsigned long)result >= -(unsigned long)MAX_ERRNO;
}

/*
 * Where the kernel forbids even to look at a clock, the time when it began to;
 * else 0. Later calls are later by a nanosecond each.
 */
extern uint64_t stopped_clock_ns;

ALWAYS_INLINE uint64_t now_ns(int clock)
{
	struct timespec time = {0};

	if (UNLIKELY(READ(stopped_clock_ns)))
		return ADD(stopped_clock_ns, 1);

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Memory of our own; NULL if there is none. */
ALWAYS_INLINE void *new_pages(size_t size)
{
	long found =
		SYSTEM_CALL(NR_MMAP, 0, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return is_error(found) ? NULL : (void *)found;
}

#endif /* PRELOAD_BASE_H */
