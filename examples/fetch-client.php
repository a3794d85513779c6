<?php
/**
 * The client of the fetch example: hands each URL to whoever serves "fetch", and returns at once.
 *
 *     php examples/fetch-client.php http://127.0.0.1/ file:///etc/hostname
 */
declare(strict_types=1);

if ($argc < 2) {
    fwrite(STDERR, "usage: php fetch-client.php URL…\n");
    exit(2);
}

$client = new GearmanClient();
// The library adds the servers of GEARMAN_SERVERS by itself. Adding one of them again would be a
// second connection, and libgearman's clients may hang with two.
if (!getenv('GEARMAN_SERVERS')) {
    $host = getenv('GEARMAN_HOST') ?: '127.0.0.1';
    $port = (int) (getenv('GEARMAN_PORT') ?: 4730);
    try {
        $client->addServer($host, $port);
    } catch (GearmanException $error) {
        fwrite(STDERR, "No Gearman server at $host:$port: {$error->getMessage()}\n");
        exit(1);
    }
}

foreach (array_slice($argv, 1) as $url) {
    $handle = @$client->doBackground('fetch', json_encode(['url' => $url]));
    if ($client->returnCode() !== GEARMAN_SUCCESS) {
        fwrite(STDERR, "Cannot submit $url: " . $client->error() . "\n");
        exit(1);
    }
    echo "$handle will fetch $url\n";
}
