# Owns one PostgreSQL server: makes its directory, obeys the commands on standard input, answers each with an exit
# status, and removes everything when standard input ends. That happens when the process that started the server closes
# the pipe, and also when it is killed, because then the kernel closes the pipe.
#
# Arguments: the directory of the server's binaries, the directory to make. PGTEST_PASSWORD: the superuser's password.
binaries=$1
directory=$2
server=
frozen=

# An answer to an owner that is gone must not end this script before it has cleaned up.
trap '' PIPE
mkdir -m 700 "$directory" || exit 1

# Started in the background the server is our own child, so wait reaps it: nothing is left to process 1, which in a
# container may not reap.
start() {
	"$binaries/postgres" -D "$directory/data" -p "$1" >>"$directory/log" 2>&1 </dev/null &
	server=$!
	# The last line of postmaster.pid is the state of the server; pg_ctl waits for it in the same way.
	until grep -q '^ready' "$directory/data/postmaster.pid" 2>/dev/null; do
		kill -0 "$server" 2>/dev/null || { server=; return 1; }
		sleep 0.02
	done
}

# SIGQUIT is the immediate shutdown: no checkpoint, so the next start recovers as it would after a crash. A frozen
# process ends only once it goes on.
stop() {
	[ -z "$server" ] || kill -QUIT "$server" 2>/dev/null
	thaw
	wait
	server=
}

# Copies the files of another server, which is in backup mode, without what a base backup leaves out: its WAL comes by
# streaming. Files may vanish meanwhile, as those of a table that is dropped do. The two empty files are for the owner
# to fill, who may be another account.
copy() {
	mkdir -m 700 "$directory/data" || return 1
	for entry in "$1"/data/*; do
		case ${entry##*/} in
		postmaster.pid | postmaster.opts) ;;
		pg_wal | pg_replslot | pg_dynshmem | pg_notify | pg_serial | pg_snapshots | pg_stat_tmp | pg_subtrans)
			mkdir -m 700 "$directory/data/${entry##*/}"
			;;
		*)
			cp -Rp "$entry" "$directory/data/" 2>"$directory/copy" && continue
			if grep -v 'No such file or directory' "$directory/copy" >>"$directory/log"; then return 1; fi
			;;
		esac
	done
	: >"$directory/data/backup_label"
	: >"$directory/data/standby.signal"
}

freeze() {
	kill -STOP "$1" 2>>"$directory/log" && frozen=$1
}

thaw() {
	[ -z "$frozen" ] || kill -CONT "$frozen" 2>/dev/null
	frozen=
}

while read -r command argument; do
	case $command in
	init)
		printf '%s\n' "$PGTEST_PASSWORD" >"$directory/password"
		"$binaries/initdb" -D "$directory/data" -U postgres -A scram-sha-256 --pwfile="$directory/password" \
			--encoding=UTF8 --locale=C --no-sync --no-instructions >>"$directory/log" 2>&1 </dev/null
		;;
	start) start "$argument" ;;
	copy) copy "$argument" ;;
	crash) stop ;;
	freeze) freeze "$argument" ;;
	thaw) thaw ;;
	esac
	echo "$?"
done

stop
cd /
rm -rf "$directory"
