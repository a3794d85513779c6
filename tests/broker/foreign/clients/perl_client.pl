# A client of Gearman::Client: perl perl_client.pl PORT [queue|twice]
use strict;
use warnings;
use Gearman::Client;
use Gearman::Task;

$| = 1;
my ($port, $mode) = @ARGV;
my $server = "127.0.0.1:$port";
my $client = Gearman::Client->new(job_servers => [$server], exceptions => 1);
if (($mode // '') eq 'queue') {
    for my $priority (qw(low normal high)) {
        $client->dispatch_background(
            Gearman::Task->new(order => \$priority, { priority => $priority }));
    }
    exit;
}

if (($mode // '') eq 'twice') {
    my $tasks = $client->new_task_set;
    for (1 .. 2) {
        $tasks->add_task(
            count => 'x',
            { uniq => 'same', on_complete => sub { print "count ${$_[0]}\n" } });
    }
    $tasks->wait(timeout => 15);
    exit;
}

my $result = $client->do_task(rev => 'abc');
print "rev $$result\n";
$result = $client->do_task(empty => 'abc');
print "empty '$$result'\n";

my @said;
my $tasks = $client->new_task_set;
sub task {
    my ($function, %options) = @_;
    $tasks->add_task(
        $function => 'x',
        {   on_complete  => sub { push @said, "$function ${$_[0]}" },
            on_fail      => sub { push @said, "$function failed" },
            # The worker sends it frozen, and the client hands on what came.
            on_exception => sub { push @said, "$function exception " . $_[0] =~ s/[^a-z]//gr },
            on_status    => sub { push @said, "$function status $_[0]/$_[1]" },
            on_data      => sub { push @said, "$function data ${$_[0]}" },
            on_warning   => sub { push @said, "$function warning ${$_[0]}" },
            %options,
        });
}
task('news');
task('fail');
task('throw');
task('rev', priority => 'high');
$tasks->wait(timeout => 15);
print 'tasks ', join(', ', sort @said), "\n";

my $handle = $client->dispatch_background(later => 'x', { uniq => 'key' });
my $again = $client->dispatch_background(later => 'y', { uniq => 'key' });
print 'again ', $handle eq $again ? 'true' : 'false', "\n";
my $status = $client->get_status($handle);
print 'queued ', $status->known && !$status->running ? 'true' : 'false', "\n";
my ($row) = $client->get_job_server_status;
print 'server status ', join('/', @{ $row->{$server}{later} }{qw(queued running capable)}), "\n";
