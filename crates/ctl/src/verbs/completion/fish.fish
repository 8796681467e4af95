# Completion of onggi for fish: onggi completion fish | source

function __onggi_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] __complete -- $words[2..-1] "$current" 2>/dev/null)
    test (count $found) -gt 0; or return
    set -l directive (string replace -r '^:' '' -- $found[-1])
    set -e found[-1]
    if test (count $found) -gt 0
        printf '%s\n' $found
    else if test (math "bitand($directive, 4)") -eq 0
        __fish_complete_path "$current"
    end
end

complete -c onggi -e
complete -c onggi -f -k -a '(__onggi_complete)'
