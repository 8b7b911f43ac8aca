$external_commands = {
    'post-build-commands' => [
        ['postroj', 'test', '%SBUILD_CHANGES', '--image', 'debian-sid', '--steps', 'all'],
    ],
};
1;
