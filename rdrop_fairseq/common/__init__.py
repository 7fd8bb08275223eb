"""What every other room uses: files, text, locks, errors, progress, versions. It imports nothing else of ours."""
