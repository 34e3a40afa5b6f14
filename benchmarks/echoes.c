/* The load of benchmarks/websocket.py: on every connection one message is sent, its echo awaited, and the message sent
 * again. It is written in C so that the server is what limits it: a client in Python would be slower than the servers.
 *
 *   echoes FRAME_FILE SECONDS FIRST_FD COUNT
 *
 * The descriptors are connected WebSockets without a message under way. Prints the number of echoes, the seconds they
 * took, and how many microseconds passed from a message to its echo in the median and in the 99th of a hundred.
 */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TIMEOUT_MS = 10000, READY_MAX = 256, HEAD_BYTES_MAX = 10 };

struct connection {
    unsigned char head[HEAD_BYTES_MAX]; /* of the echo, as far as it has come */
    size_t head_size;
    uint64_t missing; /* bytes of the payload, once the head is complete */
    int in_payload;
    double sent_at;
};

static unsigned char received[1 << 20];
static unsigned char *frame;
static size_t frame_size;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void send_message(int fd, struct connection *connection) {
    connection->sent_at = now();
    for (size_t sent = 0; sent < frame_size;) {
        ssize_t count = send(fd, frame + sent, frame_size - sent, MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR)
            fail("the connection was broken");
        sent += count > 0 ? (size_t)count : 0;
    }
}

/* How long the head is that begins so (RFC 6455 section 5.2); a server's frame is not masked. */
static size_t size_of_head(const struct connection *connection) {
    if (connection->head_size < 2)
        return 2;
    int length = connection->head[1];
    return length < 126 ? 2 : length == 126 ? 4 : length == 127 ? 10 : (fail("a frame of the server is masked"), 0);
}

static uint64_t size_of_payload(const struct connection *connection, size_t head_size) {
    uint64_t size = head_size == 2 ? connection->head[1] : 0;
    for (size_t index = 2; index < head_size; index++)
        size = size << 8 | connection->head[index];
    return size;
}

/* Takes what has come; whether the echo is complete. */
static int take(struct connection *connection, const unsigned char *data, size_t size) {
    size_t position = 0;
    while (!connection->in_payload) {
        size_t wanted = size_of_head(connection);
        while (connection->head_size < wanted) {
            if (position == size)
                return 0;
            connection->head[connection->head_size++] = data[position++];
            wanted = size_of_head(connection);
        }
        connection->missing = size_of_payload(connection, wanted);
        connection->in_payload = 1;
    }
    if (size - position > connection->missing)
        fail("more came than the echo");
    connection->missing -= size - position;
    if (connection->missing)
        return 0;
    connection->in_payload = 0;
    connection->head_size = 0;
    return 1;
}

static int by_size(const void *left, const void *right) {
    float difference = *(const float *)left - *(const float *)right;
    return (difference > 0) - (difference < 0);
}

static void read_frame(const char *path) {
    FILE *file = fopen(path, "rb");
    frame = malloc(1 << 20);
    if (!file || !frame)
        fail("the frame cannot be read");
    frame_size = fread(frame, 1, 1 << 20, file);
    fclose(file);
}

int main(int count_of_arguments, char **arguments) {
    if (count_of_arguments != 5)
        fail("usage: echoes FRAME_FILE SECONDS FIRST_FD COUNT");
    read_frame(arguments[1]);
    double seconds = atof(arguments[2]);
    int first = atoi(arguments[3]), count = atoi(arguments[4]);
    struct connection *connections = calloc((size_t)count, sizeof *connections);
    size_t echoes = 0, room = 1 << 20;
    float *taken_us = malloc(room * sizeof *taken_us);
    int poll = epoll_create1(0);
    if (!connections || !taken_us || poll < 0)
        fail("no memory");
    for (int index = 0; index < count; index++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = first + index};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, first + index, &wanted))
            fail("a descriptor is not open");
        send_message(first + index, &connections[index]);
    }
    struct epoll_event ready[READY_MAX];
    double begun = now(), time = begun;
    for (; time < begun + seconds; time = now()) {
        int number = epoll_wait(poll, ready, READY_MAX, TIMEOUT_MS);
        if (number == 0)
            fail("no echo within ten seconds");
        for (int index = 0; index < number; index++) {
            int fd = ready[index].data.fd;
            struct connection *connection = &connections[fd - first];
            ssize_t size = read(fd, received, sizeof received);
            if (size <= 0)
                fail("the connection was closed");
            if (!take(connection, received, (size_t)size))
                continue;
            if (echoes == room && !(taken_us = realloc(taken_us, (room *= 2) * sizeof *taken_us)))
                fail("no memory");
            taken_us[echoes++] = (float)((now() - connection->sent_at) * 1e6);
            send_message(fd, connection);
        }
    }
    if (!echoes)
        fail("no echo came");
    qsort(taken_us, echoes, sizeof *taken_us, by_size);
    printf("%zu %.6f %.1f %.1f\n", echoes, time - begun, (double)taken_us[echoes / 2], (double)taken_us[echoes * 99 / 100]);
    return 0;
}
