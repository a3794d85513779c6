// The worker of a pool with runner = "gearman-manager": it serves the functions of a folder in
// which each file NAME.php holds the function NAME($job, &$log), or a class NAME with such a run().
// How many of it run and for how long is the supervisor's business.
//
// Its options: --servers=HOST:PORT,…  --dir=FOLDER …  --only=FUNCTION …  --not=FUNCTION …
// --prefix=TEXT, which stands before the names in the files. It runs as `php -r`.

function gearman_manager_die(string $why): never
{
    fwrite(STDERR, "gearman-manager: $why\n");
    exit(1);
}

/** The options, each with all its values. */
function gearman_manager_options(array $words): array
{
    $options = ['servers' => [], 'dir' => [], 'only' => [], 'not' => [], 'prefix' => []];
    foreach ($words as $word) {
        [$name, $value] = explode('=', substr($word, 2), 2) + [1 => ''];
        $options[$name][] = $value;
    }
    return $options;
}

/** Files by function; of two folders with the same one the first counts. */
function gearman_manager_files(array $options): array
{
    $files = [];
    foreach ($options['dir'] as $dir) {
        if (!is_dir($dir)) {
            gearman_manager_die("worker_dir: there is no folder $dir");
        }
        foreach (glob("$dir/*.php") as $file) {
            $files += [basename($file, '.php') => realpath($file)];
        }
    }
    $only = $options['only'] ?: array_keys($files);
    foreach (array_diff($only, array_keys($files)) as $missing) {
        gearman_manager_die("functions: no $missing.php in " . implode(', ', $options['dir']));
    }
    $files = array_intersect_key($files, array_flip(array_diff($only, $options['not'])));
    return $files ?: gearman_manager_die('no functions in ' . implode(', ', $options['dir']));
}

/** What performs a function, once its file is loaded. */
function gearman_manager_performer(string $name, string $file): callable
{
    if (class_exists($name) && method_exists($name, 'run')) {
        $object = new $name();
        // Not [$object, 'run'], which could not hand on the log as a reference.
        return fn (GearmanJob $job, array &$log) => $object->run($job, $log);
    }
    return function_exists($name) ? $name
        : gearman_manager_die("$file has neither a function $name nor a class $name with run()");
}

/** One job: its result as Gearman wants it, and what it logged as output. */
function gearman_manager_perform(callable $performer, GearmanJob $job): string
{
    $log = [];
    $result = $performer($job, $log);
    foreach ((array) $log as $entry) {
        $text = is_scalar($entry) ? (string) $entry : trim(print_r($entry, true));
        foreach (explode("\n", $text) as $line) {
            echo '(', $job->handle(), ') ', $line, "\n";
        }
    }
    flush();
    $is_text = $result === null || is_scalar($result) || $result instanceof Stringable;
    return $is_text ? (string) $result : json_encode($result);
}

// Everything is in functions, so that the files of workers find no variables of ours.
(function (array $words): void {
    if (!extension_loaded('gearman')) {
        gearman_manager_die('php lacks the gearman extension; install php-gearman');
    }
    $options = gearman_manager_options($words);
    $files = gearman_manager_files($options);
    @cli_set_process_title('gearman-manager ' . implode(',', array_keys($files)));
    $stopping = false;
    if (function_exists('pcntl_async_signals')) {
        pcntl_async_signals(true);
        foreach ([SIGTERM, SIGINT] as $signal) {
            pcntl_signal($signal, function () use (&$stopping): void {
                $stopping = true;
            });
        }
    }
    $worker = new GearmanWorker();
    try {
        // The library adds those of GEARMAN_SERVERS by itself.
        getenv('GEARMAN_SERVERS') || $worker->addServers($options['servers'][0]);
    } catch (GearmanException $error) {
        gearman_manager_die("no Gearman server at {$options['servers'][0]}: {$error->getMessage()}");
    }
    $prefix = $options['prefix'][0] ?? '';
    $load = static function (string $file): void {
        require_once $file;
    };
    foreach ($files as $function => $file) {
        $load($file);
        $performer = gearman_manager_performer($prefix . $function, $file);
        $worker->addFunction(
            (string) $function,
            fn (GearmanJob $job) => gearman_manager_perform($performer, $job),
        );
    }
    $worker->setTimeout(2000);
    // What a job throws ends the worker, as it did under GearmanManager: the job is tried again by
    // one with new connections, and given up after max_attempts.
    while (!$stopping) {
        if (@$worker->work() || $worker->returnCode() === GEARMAN_TIMEOUT
            || $worker->returnCode() === GEARMAN_WORK_FAIL || $stopping) {
            continue;
        }
        gearman_manager_die('lost the Gearman server: ' . $worker->error());
    }
})(array_slice($argv, 1));
