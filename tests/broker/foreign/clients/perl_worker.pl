# A worker of Gearman::Worker: perl perl_worker.pl PORT [order]
use strict;
use warnings;
use Gearman::Worker;

$| = 1;
my ($port, $mode) = @ARGV;
my $worker = Gearman::Worker->new(job_servers => ["127.0.0.1:$port"]);
if (($mode // '') eq 'order') {
    $worker->register_function(order => sub { print $_[0]->arg, "\n"; 'done' });
} else {
    my $calls = 0;
    $worker->register_function(rev => sub { scalar reverse $_[0]->arg });
    $worker->register_function(count => sub { ++$calls });
    $worker->register_function(empty => sub { '' });
    $worker->register_function(news => sub { $_[0]->set_status(1, 2); 'two' });
    $worker->register_function(fail => sub { undef });
    $worker->register_function(throw => sub { die "boom\n" });
}
$worker->work while 1;
